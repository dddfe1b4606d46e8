'use strict';
// The answers of one run to one benchmark: which of them are shown, what another run made of the same items, search.
// An item is the index of an answer in the order of the run's file; its texts come in chunks, loaded when they are needed.

(() => {
  const { load } = window.meds1;
  const CHUNK = 200;
  const SHOWS = [
    ['all', 'all answers'], ['wrong', 'wrong'], ['unanswered', 'unanswered'], ['right', 'right'],
    ['flips', 'flips: either way'], ['right-to-wrong', 'flips: right → wrong'], ['wrong-to-right', 'flips: wrong → right'],
  ];

  const isRight = (answers, item) => answers.correct[item] === '1';
  const isFlip = (show) => show === 'flips' || show.includes('-to-');
  const budgetsOf = (answers) => (answers.budget ? [...new Set(answers.budget)].sort((a, b) => a - b) : []);

  /** What must be equal for two runs' answers to be a pair: the question's row and the repetition. */
  const pairOf = (answers, item) => `${answers.row[item]}/${answers.repetition ? answers.repetition[item] : 0}`;

  /** The items of one budget of thinking (null: those that a run without budgets has: all). */
  function itemsOf(answers, budget) {
    const all = [...answers.row.keys()];
    return budget === null ? all : all.filter((item) => answers.budget[item] === budget);
  }

  /** A run's answers to a benchmark: `name`, `place` (its number), `answers`, `items` and the `budget` that was taken. */
  async function open(name, index, benchmark, budget) {
    const known = index.experiments.find((one) => one.name === name);
    if (!known) throw new Error(`There is no experiment ${name} in this report; choose another run`);
    if (!known.predictions) throw new Error(`No predictions of it in this report: ${known.why_no_predictions}`);
    const place = index.benchmarks.findIndex((one) => one.key === benchmark);
    const answers = (await load(`runs/${name}`))[benchmark];
    if (!answers) throw new Error(`${name} has no answers to ${benchmark} in this report; choose another benchmark`);
    const budgets = budgetsOf(answers);
    const taken = budgets.includes(budget) ? budget : (budgets[budgets.length - 1] ?? null);
    return { name, place, answers, budgets, budget: taken, items: itemsOf(answers, taken) };
  }

  /** The other run's item of each pair. */
  function partners(other) {
    return new Map(other.items.map((item) => [pairOf(other.answers, item), item]));
  }

  /** The other run's answer to the same question and repetition, else undefined. */
  function partner(view, item) {
    return view.partners?.get(pairOf(view.run.answers, item));
  }

  /** The items of a view (run, other or null, partners or null) that `show` leaves. */
  function selected(view, show) {
    const { answers, items } = view.run;
    if (show === 'wrong') return items.filter((item) => !isRight(answers, item));
    if (show === 'right') return items.filter((item) => isRight(answers, item));
    if (show === 'unanswered') return items.filter((item) => answers.extracted[item] === null);
    if (!isFlip(show)) return items;
    if (!view.other) return [];
    return items.filter((item) => {
      const before = partner(view, item);
      if (before === undefined) return false;
      const was = isRight(view.other.answers, before);
      const is = isRight(answers, item);
      return was !== is && (show === 'flips' || was === (show === 'right-to-wrong'));
    });
  }

  const questionKey = (run, item) => `questions/b${run.place}/${Math.floor(run.answers.row[item] / CHUNK)}`;
  const answerKey = (run, item) => `answers/${run.name}/b${run.place}/${Math.floor(item / CHUNK)}`;

  /** The question of an item: id, the id that its copies share, text, options, gold (the run's own) and specialty. */
  async function question(run, item) {
    const chunk = await load(questionKey(run, item));
    const [id, questionId, text, options, gold, specialty] = chunk[run.answers.row[item] % CHUNK];
    return { id, questionId, text, options, gold: run.answers.gold?.[item] ?? gold, specialty };
  }

  /** The texts of an item's answer. */
  async function answer(run, item) {
    return (await load(answerKey(run, item)))[item % CHUNK];
  }

  async function holds(run, item, wanted) {
    const asked = await question(run, item);
    const said = await answer(run, item);
    const texts = [asked.id, asked.text, said.thinking, said.answer, said.output, run.answers.extracted[item]];
    return texts.some((text) => text && text.toLowerCase().includes(wanted));
  }

  /**
   * Search the items' questions and answers for a text, upper or lower case alike, chunk by chunk.
   * `report(found, looked)` is called as it goes on; it returns false to stop.
   */
  async function search(run, items, text, report) {
    const wanted = text.toLowerCase();
    const found = [];
    for (let start = 0; start < items.length; start += CHUNK) {
      for (const item of items.slice(start, start + CHUNK)) {
        if (await holds(run, item, wanted)) found.push(item);
      }
      await new Promise((resolve) => setTimeout(resolve)); // let the page draw and listen
      if (!report(found, Math.min(start + CHUNK, items.length))) return;
    }
  }

  window.meds1.answers = { SHOWS, isFlip, isRight, open, partners, partner, selected, question, answer, search };
})();
