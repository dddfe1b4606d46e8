'use strict';
// The browser of predictions: choose a run, a benchmark, what is shown; a list, one prediction in full; the keyboard.

(() => {
  const { load, make, labelled, choice, state, keep, shown, calm, warn, list, detail, answers } = window.meds1;
  const place = document.getElementById('predictions');
  const view = { index: null, run: null, other: null, partners: null, items: [], item: null, pinned: false, turn: 0 };
  // pinned: the item that a link names is shown even where the list leaves it out
  const asked = { run: '', benchmark: '', show: 'all', against: '', q: '', budget: null };
  const tools = make('div', { class: 'toolbar' });
  const count = make('span', { class: 'count', role: 'status' });
  const progress = make('progress', { hidden: true, 'aria-label': 'Searched' });
  const stop = make('button', { type: 'button', hidden: true, click: () => stopSearch() }, 'Stop');
  const pane = make('div', { class: 'detail', id: 'detail', 'aria-live': 'off' });
  const answersList = list('Answers', fillRow, choose);
  const search = make('input', { type: 'search', id: 'search', placeholder: 'Question or answer', autocomplete: 'off' });

  function remember() {
    keep([
      ['run', asked.run], ['benchmark', asked.benchmark], ['show', asked.show === 'all' ? '' : asked.show],
      ['against', asked.against], ['budget', asked.budget], ['q', asked.q], ['item', view.item],
    ]);
  }

  // --- the list ---
  function fillRow(row, item) {
    const { run } = view;
    const right = answers.isRight(run.answers, item);
    const before = answers.partner(view, item);
    const flipped = before !== undefined && answers.isRight(view.other.answers, before) !== right;
    const said = run.answers.extracted[item];
    const excerpt = make('span', { class: 'excerpt', dir: 'auto' }, '…');
    const name = right ? 'right' : (said === null ? 'unanswered' : 'wrong');
    row.append(
      make('span', { class: `verdict ${right ? 'right' : 'wrong'}`, title: name },
        flipped ? `${right ? '✗→✓' : '✓→✗'}` : (right ? '✓' : (said === null ? '–' : '✗'))),
      make('span', { class: 'visually-hidden' }, name), make('span', { class: 'number faded' }, String(item + 1)), excerpt);
    answers.question(run, item).then((one) => excerpt.replaceChildren(shown(one.text.slice(0, 160))))
      .catch((error) => { excerpt.textContent = error.message; });
  }

  function choose(item) {
    view.item = item;
    view.pinned = false;
    answersList.select(item);
    remember();
    drawDetail();
  }

  async function drawDetail() {
    const { run, other, item } = view;
    if (item === null) {
      pane.replaceChildren(make('p', { class: 'note' }, 'No answer is shown: choose others, or empty the search. Press ? for the keys.'));
      return;
    }
    const drawn = await detail(run, item, other, answers.partner(view, item)).catch((error) => error);
    if (view.item !== item || view.run !== run || view.other !== other) return; // another one was chosen meanwhile
    if (drawn instanceof Error) warn(pane, drawn);
    else pane.replaceChildren(head(item), drawn);
    pane.scrollTop = 0;
  }

  function head(item) {
    const copy = make('button', { type: 'button', id: 'copy' }, 'Copy link');
    copy.addEventListener('click', async () => {
      const copied = await navigator.clipboard.writeText(location.href).then(() => true, () => false);
      copy.textContent = copied ? 'Copied' : 'The link is in the address bar';
    });
    const move = (by, title) => make('button', { type: 'button', 'aria-label': title, title, click: () => step(by) },
      by < 0 ? '← Previous' : 'Next →');
    return make('div', { class: 'detail-head' }, make('h2', null, `Answer ${item + 1}`),
      make('span', { class: 'buttons' }, move(-1, 'Previous answer (k)'), move(1, 'Next answer (j)'), copy));
  }

  function step(by) {
    const item = answersList.step(by);
    if (item !== undefined) choose(item);
  }

  // --- what is shown ---
  function counted(looked) {
    const all = view.run.items.length.toLocaleString('en');
    const still = looked === null ? '' : ` (searched ${looked.toLocaleString('en')})`;
    count.textContent = `${view.items.length.toLocaleString('en')} of ${all} answers${still}`;
  }

  function present(items, looked) {
    view.items = items;
    answersList.show(items);
    if (view.item !== null && items.includes(view.item)) answersList.select(view.item);
    counted(looked);
  }

  function stopSearch() {
    view.turn += 1;
    progress.hidden = stop.hidden = true;
  }

  async function filter() {
    stopSearch();
    const turn = view.turn;
    const items = answers.selected(view, asked.show);
    if (answers.isFlip(asked.show) && !view.other) {
      present([], null);
      count.textContent = 'Choose an experiment under “against” to see flips';
    } else if (asked.q === '') {
      present(items, null);
    } else {
      await searchIn(items, turn);
    }
    if (turn !== view.turn) return;
    const within = view.pinned ? view.run.items : view.items;
    if (!within.includes(view.item)) view.item = view.items[0] ?? null;
    if (view.item !== null) answersList.select(view.item);
    remember();
    await drawDetail();
  }

  async function searchIn(items, turn) {
    progress.max = items.length;
    progress.value = 0;
    progress.hidden = stop.hidden = false;
    present([], 0);
    await answers.search(view.run, items, asked.q, (found, looked) => {
      if (turn !== view.turn) return false;
      progress.value = looked;
      if (found.length > view.items.length) present([...found], looked);
      counted(looked);
      return true;
    }).catch((error) => {
      if (turn === view.turn) warn(pane, error);
    });
    if (turn !== view.turn) return;
    progress.hidden = stop.hidden = true;
    counted(null);
  }

  async function openRun() {
    stopSearch();
    const turn = view.turn;
    if (asked.against === asked.run) asked.against = '';
    const run = await answers.open(asked.run, view.index, asked.benchmark, asked.budget);
    const other = asked.against ? await answers.open(asked.against, view.index, asked.benchmark, run.budget) : null;
    if (turn !== view.turn) return;
    if (!run.budgets.includes(asked.budget)) asked.budget = null; // another run's
    Object.assign(view, { run, other, partners: other && answers.partners(other) });
    drawTools();
    await filter();
  }

  /** A reader's change of what is asked for. */
  function change(changes) {
    Object.assign(asked, changes);
    view.pinned = false;
    if (view.run && Object.keys(changes).every((name) => name === 'show' || name === 'q')) filter();
    else reopen();
  }

  function reopen() {
    openRun().catch((error) => {
      Object.assign(view, { run: null, other: null, item: null });
      count.textContent = '';
      answersList.show([]);
      drawTools();
      warn(pane, error);
    });
  }

  // --- the controls ---
  const withPredictions = () => view.index.experiments.filter((one) => one.predictions);
  const titled = (one) => [one.name, one.label === one.name ? one.name : `${one.label} (${one.name})`];

  /** The pairs, and the chosen value if it is none of them: a control never shows another one than was asked for. */
  const withChosen = (pairs, value) => (pairs.some(([one]) => one === value) ? pairs : [[value, value], ...pairs]);

  function drawTools() {
    const runs = withPredictions().map(titled);
    const others = runs.filter(([name]) => name !== asked.run);
    const benchmarks = view.index.benchmarks.map((one) => [one.key, one.title]);
    const budgets = view.run?.budgets ?? [];
    const chooser = (name, pairs) => choice(withChosen(pairs, asked[name]), asked[name], (value) => change({ [name]: value }));
    const show = choice(answers.SHOWS, asked.show, (value) => change({ show: value }));
    show.id = 'show';
    tools.replaceChildren(...[
      labelled('Run', chooser('run', runs)), labelled('Benchmark', chooser('benchmark', benchmarks)),
      labelled('Show', show), labelled('Against', chooser('against', [['', 'none'], ...others])),
      budgets.length > 1 && labelled('Thinking budget', choice(budgets.map((one) => [String(one), `${one} tokens`]),
        String(view.run.budget), (value) => change({ budget: Number(value) }))),
      labelled('Search', search), progress, stop, count,
      make('button', { type: 'button', 'aria-label': 'Keys', click: () => help().showModal() }, '?'),
    ].filter(Boolean));
  }

  function help() {
    return document.getElementById('keys');
  }

  const KEYS = {
    j: () => step(1), ArrowDown: () => step(1), ArrowRight: () => step(1),
    k: () => step(-1), ArrowUp: () => step(-1), ArrowLeft: () => step(-1),
    '/': () => search.focus(), f: () => document.getElementById('show').focus(), '?': () => help().showModal(),
    Home: () => view.items.length && choose(view.items[0]), End: () => view.items.length && choose(view.items.at(-1)),
    Escape: () => stopSearch(),
  };

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || help().open || !view.run) return;
    const typing = event.target.matches('input, select, textarea');
    if (typing && event.key === 'Escape') answersList.box.focus();
    if (typing || !Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  }

  /** What the hash asks for, with defaults for what it leaves out. */
  function read() {
    const given = state();
    const runs = withPredictions();
    const run = given.get('run') ?? runs[0].name;
    const scored = view.index.experiments.find((one) => one.name === run)?.scores ?? {};
    const first = view.index.benchmarks.find((one) => one.key in scored) ?? view.index.benchmarks[0];
    const show = given.get('show') ?? 'all';
    Object.assign(asked, {
      run, benchmark: given.get('benchmark') ?? first.key, against: given.get('against') ?? '', q: given.get('q') ?? '',
      show: answers.SHOWS.some(([name]) => name === show) ? show : 'all',
      budget: given.get('budget') === null ? null : Number(given.get('budget')),
    });
    view.item = given.get('item') === null ? null : Number(given.get('item'));
    view.pinned = view.item !== null;
    search.value = asked.q;
  }

  async function start() {
    view.index = await load('index');
    if (withPredictions().length === 0) {
      const reasons = view.index.experiments.map((one) => one.why_no_predictions); // each names its experiment
      const rest = reasons.length > 3 ? `; and ${reasons.length - 3} more, whose pages say why` : '';
      throw new Error(`No experiment of this report has predictions: ${reasons.slice(0, 3).join('; ')}${rest}.`);
    }
    place.replaceChildren(tools, make('div', { class: 'browser' }, answersList.box, pane));
    read();
    search.addEventListener('input', calm(() => change({ q: search.value }), 250));
    document.addEventListener('keydown', pressed);
    addEventListener('hashchange', () => {
      read();
      reopen();
    });
    reopen();
  }

  start().catch((error) => warn(place, error));
})();
