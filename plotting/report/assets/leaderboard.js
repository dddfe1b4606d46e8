'use strict';
// The leaderboard of the first page: filters, the choice of columns and of two experiments to compare, all in the hash.

(() => {
  const { load, make, labelled, choice, state, keep, address, value, calm, warn } = window.meds1;
  const { headings, sort, sortable } = window.meds1.table;
  const table = document.getElementById('leaderboard');
  if (!table) return;
  const HEADLINE = ''; // the metric that each benchmark's column holds when the page opens

  const rows = [...table.tBodies[0].rows];
  const columns = [...headings(table).values()].filter((heading) => heading.dataset.benchmark);
  const chosen = { q: '', tag: '', group: '', status: '', metric: HEADLINE, sort: '', hidden: new Set(), picked: new Set() };
  const WAYS = { higher: '', lower: ' (lower is better)' };
  const caption = table.caption.textContent;
  const macro = headings(table).get('macro'); // of the headline
  const count = make('span', { class: 'count', role: 'status' });
  const compare = make('a', { class: 'button', id: 'compare-picked' });
  const message = make('div');

  function distinct(of) {
    return [...new Set(rows.flatMap(of))].filter(Boolean).sort().map((name) => [name, name]);
  }

  function remember() {
    keep([
      ...['q', 'tag', 'group', 'status', 'metric', 'sort'].map((name) => [name, chosen[name]]),
      ...[...chosen.hidden].map((name) => ['hide', name]),
      ...[...chosen.picked].map((name) => ['pick', name]),
    ]);
  }

  function matches({ name, label, tags, group, status }, words) {
    const text = `${name} ${label} ${tags} ${group}`.toLowerCase();
    const has = (wanted, held) => wanted === '' || wanted === held;
    return words.every((word) => text.includes(word)) && has(chosen.group, group) && has(chosen.status, status)
      && (chosen.tag === '' || tags.split('\n').includes(chosen.tag));
  }

  function filter() {
    const words = chosen.q.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !matches(row.dataset, words);
      if (!row.hidden) shown += 1;
    }
    count.textContent = `${shown} of ${rows.length} experiments`;
    remember();
  }

  // --- columns ---
  function hide() {
    for (const heading of columns) {
      const hidden = chosen.hidden.has(heading.dataset.benchmark);
      for (const row of [...table.tHead.rows, ...rows]) row.cells[heading.cellIndex].hidden = hidden;
    }
    remember();
  }

  function columnChooser() {
    const boxes = columns.map((heading) => {
      const name = heading.dataset.benchmark;
      const change = (event) => {
        chosen.hidden[event.target.checked ? 'delete' : 'add'](name);
        hide();
      };
      const box = make('input', { type: 'checkbox', checked: !chosen.hidden.has(name), change });
      return make('label', null, box, ` ${heading.dataset.title || heading.textContent.trim()}`);
    });
    return make('details', { class: 'menu' }, make('summary', null, 'Benchmarks'), make('div', null, ...boxes));
  }

  function cellOf(measure, unit) {
    if (!measure) return [make('span', { class: 'faded' }, '–')];
    const [number, low, high] = measure;
    const interval = low === null ? null : make('small', null, `${value(low, unit)} – ${value(high, unit)}`);
    return [make('span', null, value(number, unit)), interval].filter(Boolean);
  }

  function showMetric(index) {
    const metric = index.metrics.find((one) => one.name === chosen.metric);
    const scores = new Map(index.experiments.map((one) => [one.name, one.scores]));
    for (const heading of columns) {
      for (const row of rows) {
        const cell = row.cells[heading.cellIndex];
        cell.first ??= { nodes: [...cell.childNodes], key: cell.dataset.value ?? '' };
        const measure = metric && scores.get(row.dataset.name)?.[heading.dataset.benchmark]?.measures[metric.name];
        cell.replaceChildren(...(metric ? cellOf(measure, metric.unit) : cell.first.nodes));
        cell.dataset.value = metric ? (measure ? measure[0] : '') : cell.first.key;
      }
    }
    if (macro) for (const row of [...table.tHead.rows, ...rows]) row.cells[macro.cellIndex].hidden = metric !== undefined;
    table.caption.textContent = metric
      ? `${metric.heading}${WAYS[metric.better] ?? ' (neither way is better)'}, with 95 % intervals where the results hold `
        + 'them. The rows stand as they were sorted before; a heading sorts them anew.'
      : caption;
    const sorted = table.querySelector('th[aria-sort][data-benchmark]');
    if (sorted) sort(table, sorted, sorted.getAttribute('aria-sort'));
    remember();
  }

  function metricChooser(index) {
    const headline = index.benchmarks[0]?.headline;
    const pairs = index.metrics.map((metric) => [metric.name === headline ? HEADLINE : metric.name, metric.title]);
    if (!index.metrics.some((metric) => metric.name === chosen.metric)) chosen.metric = HEADLINE;
    const control = choice(pairs, chosen.metric, (name) => {
      chosen.metric = name;
      showMetric(index);
    });
    if (chosen.metric !== HEADLINE) showMetric(index);
    return labelled('Metric', control);
  }

  // --- two to compare ---
  function offer() {
    const [a, b] = [...chosen.picked];
    const ready = chosen.picked.size === 2;
    compare.textContent = ready ? `Compare ${a} with ${b}` : 'Tick two experiments to compare them';
    if (ready) compare.href = address('compare.html', [['a', a], ['b', b]]);
    else compare.removeAttribute('href');
    for (const row of rows) {
      const box = row.cells[0].querySelector('input');
      box.disabled = ready && !box.checked;
    }
    remember();
  }

  function addBoxes() {
    const named = make('span', { class: 'visually-hidden' }, 'Compare');
    table.tHead.rows[0].prepend(make('th', { scope: 'col', 'data-unsorted': true, class: 'pick' }, named));
    for (const row of rows) {
      const { name } = row.dataset;
      const change = (event) => {
        chosen.picked[event.target.checked ? 'add' : 'delete'](name);
        offer();
      };
      const label = `Compare ${name}`;
      const box = make('input', { type: 'checkbox', 'aria-label': label, checked: chosen.picked.has(name), change });
      row.prepend(make('td', { class: 'pick' }, box));
    }
  }

  function selects() {
    const of = (name, title, pairs) => {
      if (pairs.length === 0) return null;
      const any = name === 'status' ? 'any' : 'all';
      return labelled(title, choice([['', any], ...pairs], chosen[name], (picked) => {
        chosen[name] = picked;
        filter();
      }));
    };
    return [
      of('group', 'Group', distinct((row) => [row.dataset.group])),
      of('tag', 'Tag', distinct((row) => row.dataset.tags.split('\n'))),
      of('status', 'Status', distinct((row) => [row.dataset.status])),
    ];
  }

  function searchBox() {
    const typed = calm(() => {
      chosen.q = box.value;
      filter();
    }, 80);
    const box = make('input', { type: 'search', id: 'filter', value: chosen.q, input: typed, autocomplete: 'off' });
    return labelled('Filter', box);
  }

  function start() {
    const given = state();
    for (const name of ['q', 'tag', 'group', 'status', 'metric', 'sort']) chosen[name] = given.get(name) || '';
    const names = new Set(rows.map((row) => row.dataset.name));
    chosen.hidden = new Set(given.getAll('hide'));
    chosen.picked = new Set(given.getAll('pick').filter((name) => names.has(name)).slice(0, 2));
    addBoxes();
    sortable(table, (key, direction) => {
      chosen.sort = `${direction === 'descending' ? '-' : ''}${key}`;
      remember();
    });
    const scored = columns.length > 0;
    const tools = make('div', { class: 'toolbar' }, searchBox(), ...selects(), scored && columnChooser(), count, compare);
    (table.closest('.scroll') || table).before(tools, message);
    const heading = headings(table).get(chosen.sort.replace(/^-/, ''));
    if (heading) sort(table, heading, chosen.sort.startsWith('-') ? 'descending' : 'ascending');
    filter();
    hide();
    offer();
    if (scored) load('index').then((index) => count.before(metricChooser(index))).catch((error) => warn(message, error));
  }

  start();
})();
