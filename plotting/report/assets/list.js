'use strict';
// A list of thousands of items of which only those in sight are in the page. All rows have one height.

(() => {
  const { make } = window.meds1;
  const SPARE = 8; // rows above and below those in sight

  /**
   * A list box. `fill(row, item)` puts an item's content into an empty row; `choose(item)` is called when one is taken.
   * Returns { box, show(items), select(item), step(by) }.
   */
  function list(label, fill, choose) {
    const inner = make('div', { class: 'list-inner', role: 'presentation' });
    const box = make('div', { class: 'list', role: 'listbox', tabindex: '0', 'aria-label': label }, inner);
    const held = { items: [], places: new Map(), chosen: null, rows: new Map() };
    const height = () => Number.parseFloat(getComputedStyle(box).getPropertyValue('--row-height'));

    function row(place) {
      const item = held.items[place];
      const element = make('div', {
        id: `item-${item}`, class: 'list-row', role: 'option', 'aria-posinset': place + 1,
        'aria-setsize': held.items.length, 'aria-selected': String(item === held.chosen), click: () => choose(item),
      });
      element.style.top = `${place * height()}px`;
      fill(element, item);
      return element;
    }

    function draw() {
      const first = Math.max(0, Math.floor(box.scrollTop / height()) - SPARE);
      const last = Math.min(held.items.length, Math.ceil((box.scrollTop + box.clientHeight) / height()) + SPARE);
      for (const [place, element] of held.rows) {
        if (place >= first && place < last) continue;
        element.remove();
        held.rows.delete(place);
      }
      for (let place = first; place < last; place += 1) {
        if (!held.rows.has(place)) held.rows.set(place, inner.appendChild(row(place)));
      }
      describe();
    }

    function describe() {
      const inSight = held.rows.has(held.places.get(held.chosen));
      if (inSight) box.setAttribute('aria-activedescendant', `item-${held.chosen}`);
      else box.removeAttribute('aria-activedescendant');
    }

    /** Show other items; the chosen one stays chosen where it is among them. */
    function show(items) {
      held.items = items;
      held.places = new Map(items.map((item, place) => [item, place]));
      held.rows.clear();
      inner.replaceChildren();
      inner.style.height = `${items.length * height()}px`;
      draw();
    }

    /** Mark an item as chosen and bring it into sight. */
    function select(item) {
      held.rows.get(held.places.get(held.chosen))?.setAttribute('aria-selected', 'false');
      held.chosen = item;
      const place = held.places.get(item);
      if (place !== undefined) {
        const top = place * height();
        if (top < box.scrollTop) box.scrollTop = top;
        else if (top + height() > box.scrollTop + box.clientHeight) box.scrollTop = top + height() - box.clientHeight;
        draw();
        held.rows.get(place).setAttribute('aria-selected', 'true');
      }
      describe();
    }

    /** The item that stands `by` places from the chosen one; the first where none is chosen; undefined at the ends. */
    function step(by) {
      const place = held.places.get(held.chosen);
      return held.items[place === undefined ? 0 : place + by];
    }

    box.addEventListener('scroll', draw, { passive: true });
    addEventListener('resize', draw);
    return { box, show, select, step };
  }

  window.meds1.list = list;
})();
