'use strict';
// Tables that sort by any column, with the mouse or the keyboard, and a filter box for the long ones.

(() => {
  const { make, calm } = window.meds1;
  const LONG = 20;
  const order = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

  /** The headings of the columns by key: `data-key`, else the text. */
  function headings(table) {
    const cells = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    return new Map(cells.map((cell) => [cell.dataset.key || cell.textContent.trim(), cell]));
  }

  function keyOf(row, column) {
    const cell = row.cells[column];
    const text = cell ? (cell.dataset.value ?? cell.textContent.trim()) : '';
    const number = text === '' ? NaN : Number(text);
    return { row, text, number, empty: text === '' || text === '–' };
  }

  function compared(one, other, sign) {
    if (one.empty || other.empty) return Number(one.empty) - Number(other.empty); // the empty come last, always
    const numbers = !Number.isNaN(one.number) && !Number.isNaN(other.number);
    return sign * (numbers ? one.number - other.number : order.compare(one.text, other.text));
  }

  /** Sort the table's rows by a heading; `direction` is ascending or descending. */
  function sort(table, heading, direction) {
    const body = table.tBodies[0];
    const sign = direction === 'descending' ? -1 : 1;
    const keys = [...body.rows].map((row) => keyOf(row, heading.cellIndex));
    keys.sort((one, other) => compared(one, other, sign));
    body.append(...keys.map((key) => key.row));
    for (const cell of headings(table).values()) cell.removeAttribute('aria-sort');
    heading.setAttribute('aria-sort', direction);
  }

  /** Make the headings buttons; `changed(key, direction)` is called after each sort. */
  function sortable(table, changed) {
    for (const [key, heading] of headings(table)) {
      if (heading.dataset.unsorted !== undefined) continue;
      const button = make('button', { type: 'button', class: 'sort' }, ...heading.childNodes);
      button.addEventListener('click', () => {
        const first = heading.classList.contains('number') ? 'descending' : 'ascending';
        const turned = heading.getAttribute('aria-sort') === 'ascending' ? 'descending' : 'ascending';
        const direction = heading.hasAttribute('aria-sort') ? turned : first;
        sort(table, heading, direction);
        if (changed) changed(key, direction);
      });
      heading.replaceChildren(button);
    }
  }

  /** A box that hides the rows that do not hold what is typed into it. */
  function filterable(table) {
    const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
    const count = make('span', { class: 'count', role: 'status' }, `${rows.length} rows`);
    const box = make('input', { type: 'search', 'aria-label': 'Filter the table', placeholder: 'Filter', autocomplete: 'off' });
    const apply = () => {
      const words = box.value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const [row, text] of rows) {
        row.hidden = !words.every((word) => text.includes(word));
        if (!row.hidden) shown += 1;
      }
      count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    };
    box.addEventListener('input', calm(apply, 80));
    (table.closest('.scroll') || table).before(make('div', { class: 'toolbar' }, box, count));
  }

  window.meds1.table = { headings, sort, sortable };
  for (const table of document.querySelectorAll('table[data-sortable]:not(#leaderboard)')) {
    sortable(table);
    if (table.tBodies[0].rows.length > LONG) filterable(table);
  }
})();
