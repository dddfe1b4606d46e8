'use strict';
// Two experiments side by side: configs where they differ, metrics, paired tests and flips. All numbers and sentences
// come from the data files; nothing is computed here.

(() => {
  const { load, make, labelled, shown, state, keep, address, value, warn } = window.meds1;
  const place = document.getElementById('compare');
  const form = make('div', { class: 'toolbar' });
  const body = make('div');
  const page = { index: null, turn: 0 };

  const experiment = (name) => page.index.experiments.find((one) => one.name === name);
  /** Why the report has nothing on two of very many experiments; null where it holds them against each other. */
  const skipped = (a, b) => {
    const { reference } = page.index;
    return reference && ![a, b].includes(reference.experiment) ? reference.reason : null;
  };
  const link = (name) => make('a', { href: `experiments/${encodeURIComponent(name)}.html` }, experiment(name).label);

  function table(caption, headings, rows) {
    const cells = headings.map((heading, column) =>
      make('th', { scope: 'col', class: rows[0].cells[column]?.className === 'number' && 'number' }, heading));
    return make('div', { class: 'scroll' }, make('table', null, make('caption', null, caption),
      make('thead', null, make('tr', null, ...cells)), make('tbody', null, ...rows)));
  }

  function section(title, ...content) {
    return make('section', null, make('h2', null, title), ...content);
  }

  // --- configs ---
  function setting(rows, path) {
    const row = rows.get(path);
    if (!row) return make('td', { class: 'faded' }, 'not set');
    const text = typeof row[1] === 'string' ? row[1] : JSON.stringify(row[1], null, 1);
    return make('td', null, make('code', null, shown(text)), make('small', { class: 'origin' }, String(row[2])));
  }

  async function configs(a, b) {
    const [one, other] = await Promise.all([a, b].map((name) => load(`config/${name}`)));
    const [ofA, ofB] = [one, other].map((rows) => new Map(rows.map((row) => [row[0], row])));
    const paths = [...new Set([...ofA.keys(), ...ofB.keys()])];
    const set = (rows, path) => JSON.stringify(rows.get(path)?.[1] ?? null); // null is as good as not set
    const differ = paths.filter((path) => set(ofA, path) !== set(ofB, path));
    if (differ.length === 0) return make('p', { class: 'note' }, 'The effective configs are equal.');
    const rows = differ.map((path) => make('tr', null, make('th', { scope: 'row' }, make('code', null, path)),
      setting(ofA, path), setting(ofB, path)));
    const which = differ.length === 1 ? 'The one setting' : `The ${differ.length} settings`;
    return table(`${which} in which the effective configs differ`, ['setting', `A: ${a}`, `B: ${b}`], rows);
  }

  // --- metrics ---
  function measured(measure, metric, best) {
    if (!measure) return make('td', { class: 'faded' }, '–');
    const [number, low, high, n] = measure;
    const interval = low === null ? '' : `${value(low, metric.unit)} – ${value(high, metric.unit)}, `;
    return make('td', { class: best ? 'measure best' : 'measure' }, make('span', null, value(number, metric.unit)), ' ',
      best && make('span', { class: 'badge' }, 'best'), make('small', null, `${interval}n = ${n.toLocaleString('en')}`));
  }

  function bestOf(one, other, metric, ranked) {
    if (ranked !== true || !metric.better || !one || !other || one[0] === other[0]) return null;
    return (one[0] > other[0]) === (metric.better === 'higher') ? 'a' : 'b';
  }

  function metricRows(benchmark, a, b, ranked) {
    const [ofA, ofB] = [a, b].map((name) => experiment(name).scores[benchmark.key]?.measures ?? {});
    const metrics = page.index.metrics.filter(({ name }) => name in ofA || name in ofB);
    const rows = metrics.map((metric) => {
      const best = bestOf(ofA[metric.name], ofB[metric.name], metric, ranked);
      return make('tr', null, make('th', { scope: 'row', class: 'sub' }, metric.title),
        measured(ofA[metric.name], metric, best === 'a'), measured(ofB[metric.name], metric, best === 'b'));
    });
    const note = ranked === true || skipped(a, b) ? null : make('span', { class: 'not-ranked' }, `not ranked: ${ranked ?? 'nothing to compare'}`);
    const head = make('tr', { class: 'group' }, make('th', { colspan: '3', scope: 'colgroup' }, benchmark.title, ' ', note));
    return metrics.length ? [head, ...rows] : [];
  }

  function metrics(a, b, pair) {
    const rows = page.index.benchmarks.flatMap((benchmark) => metricRows(benchmark, a, b, pair.ranked[benchmark.key]));
    if (rows.length === 0) return make('p', { class: 'note' }, 'Neither experiment has scores.');
    return table('Metrics side by side; shares in percent, with 95 % intervals', ['metric', `A: ${a}`, `B: ${b}`], rows);
  }

  // --- tests ---
  function flips(count, a, b, benchmark, show) {
    if (count === 0 || !experiment(a).predictions || !experiment(b).predictions) return String(count);
    const target = [['run', b], ['benchmark', benchmark.key], ['show', show], ['against', a]];
    return make('a', { href: address('predictions.html', target) }, String(count));
  }

  const points = (share) => `${share > 0 ? '+' : ''}${(100 * share).toFixed(1)}`;
  const chance = (p) => {
    if (p === null || p === undefined) return '–';
    if (p < 0.001) return '< 0.001';
    let digits = p < 0.1 ? 3 : 2;
    while (Number(p.toFixed(digits)) === 0.05 && p !== 0.05) digits += 1; // not to be read as the level itself
    return p.toFixed(digits);
  };

  function testRow(benchmark, test, a, b) {
    const number = (...content) => make('td', { class: 'number' }, ...content);
    return make('tr', null, make('th', { scope: 'row' }, benchmark.title),
      number(make('b', null, points(test.difference)), make('small', null, `${points(test.low)} … ${points(test.high)}`)),
      number(chance(test.p)), number(chance(test.p_holm)),
      number(test.n.toLocaleString('en'), make('small', null, `${test.n_questions.toLocaleString('en')} questions`)),
      number(String(test.both_right)), number(String(test.both_wrong)),
      number(flips(test.right_to_wrong, a, b, benchmark, 'right-to-wrong')),
      number(flips(test.wrong_to_right, a, b, benchmark, 'wrong-to-right')), make('td', null, test.method));
  }

  function tests(a, b, pair) {
    const held = page.index.benchmarks.filter(({ key }) => key in pair.tests);
    const sentences = held.map(({ key, title }) => make('p', { class: 'conclusion' }, make('b', null, `${title}: `),
      pair.tests[key].sentence));
    const reasons = page.index.benchmarks.flatMap(({ key, title }) => {
      const unranked = typeof pair.ranked[key] === 'string' && `not ranked: ${pair.ranked[key]}`;
      const untested = key in pair.untested && `no paired test: ${pair.untested[key]}`;
      return [unranked, untested].filter(Boolean)
        .map((reason) => make('p', { class: 'note' }, make('b', null, `${title}: `), reason));
    });
    const unscored = [a, b].filter((name) => Object.keys(experiment(name).scores).length === 0)
      .map((name) => make('p', { class: 'note' }, experiment(name).remark)); // names the experiment itself
    if (skipped(a, b)) reasons.push(make('p', { class: 'note' }, skipped(a, b)));
    const remarks = (pair.remarks ?? []).map((remark) => make('p', { class: 'note' }, remark));
    const headings = ['benchmark', 'B − A, points', 'p', 'p (Holm)', 'answers', 'both right', 'both wrong',
      'A right → B wrong', 'A wrong → B right', 'method'];
    const rows = held.map((benchmark) => testRow(benchmark, pair.tests[benchmark.key], a, b));
    return [...sentences, ...reasons, ...unscored, ...remarks, rows.length ? table('Paired tests', headings, rows) : null].filter(Boolean);
  }

  // --- the page ---
  async function draw(a, b) {
    page.turn += 1;
    const turn = page.turn;
    keep([['a', a], ['b', b]]);
    const title = make('p', { class: 'pair' }, make('b', null, 'A '), link(a), make('b', null, ' against B '), link(b));
    const [differences, pairs] = await Promise.all([configs(a, b), load(`pairs/${a}`)]);
    if (turn !== page.turn) return;
    const pair = pairs[b] ?? { ranked: {}, tests: {}, untested: {} };
    body.replaceChildren(title, section('What may be concluded', ...tests(a, b, pair)),
      section('Metrics', metrics(a, b, pair)), section('Configuration', differences));
    document.title = `${a} against ${b}`;
  }

  function drawForm(a, b) {
    const names = make('datalist', { id: 'names' },
      ...page.index.experiments.map((one) => make('option', { value: one.name }, one.label)));
    const input = (name, chosen) => make('input', { id: name, list: 'names', value: chosen, autocomplete: 'off', size: '36', change });
    const one = input('a', a);
    const other = input('b', b);
    const swap = make('button', { type: 'button', click: () => {
      [one.value, other.value] = [other.value, one.value];
      change();
    } }, '⇄ Swap');
    form.replaceChildren(labelled('A (the reference)', one), labelled('B', other), swap, names);
  }

  function change() {
    const [a, b] = ['a', 'b'].map((id) => document.getElementById(id).value.trim());
    const unknown = [a, b].find((name) => name && !experiment(name));
    if (unknown) warn(body, new Error(`There is no experiment ${unknown} in this report; choose one from the list.`));
    else if (a && b && a !== b) draw(a, b).catch((error) => warn(body, error));
    else body.replaceChildren(make('p', { class: 'note' }, 'Choose two different experiments, A and B.'));
  }

  async function start() {
    page.index = await load('index');
    const open = () => {
      drawForm(state().get('a') ?? '', state().get('b') ?? '');
      change();
    };
    place.replaceChildren(form, body);
    addEventListener('hashchange', open);
    open();
  }

  start().catch((error) => warn(place, error));
})();
