'use strict';
// One prediction in full: the question with its options, and what one or two runs answered.

(() => {
  const { make, shown } = window.meds1;
  const { isRight, question, answer } = window.meds1.answers;
  const LONG = 6000; // characters of a text that are shown before the reader asks for all

  /** A text of a model as it is: white space kept, direction by its own letters, a very long one in two steps. */
  function text(content, className = 'text') {
    const box = make('div', { class: className, dir: 'auto' });
    if (content === '') box.append(make('span', { class: 'faded' }, '(empty)'));
    else if (content.length <= LONG) box.append(shown(content));
    else shorten(box, content);
    return box;
  }

  function shorten(box, content) {
    const rest = (content.length - LONG).toLocaleString('en');
    const more = make('button', { type: 'button', class: 'more' }, `Show the other ${rest} characters`);
    more.addEventListener('click', () => box.replaceChildren(shown(content)));
    box.append(shown(content.slice(0, LONG)), '…', make('br'), more);
  }

  function mark(right) {
    return make('span', { class: `verdict ${right ? 'right' : 'wrong'}` }, right ? '✓ right' : '✗ wrong');
  }

  function options(asked, picks) {
    const golds = asked.gold.split(',');
    const rows = asked.options.map(([letter, content]) => {
      const isGold = golds.includes(letter);
      const by = picks.filter(({ letters }) => letters.includes(letter)).map(({ name }) => name);
      const notes = [...(isGold ? ['gold'] : []), ...by.map((name) => (name ? `chosen by ${name}` : 'chosen'))];
      const classes = `option${isGold ? ' gold' : ''}${by.length ? ' chosen' : ''}`;
      const badges = notes.map((note) => make('span', { class: 'badge' }, note));
      return make('li', { class: classes }, make('b', null, letter), text(content, 'inline-text'), ...badges);
    });
    return make('ul', { class: 'options' }, ...rows);
  }

  function facts(pairs) {
    const held = pairs.filter(([, content]) => content !== null && content !== undefined && content !== '');
    return make('dl', { class: 'facts' }, ...held.map(([name, content]) => make('div', null,
      make('dt', null, name), make('dd', { dir: 'auto' }, typeof content === 'string' ? shown(content) : String(content)))));
  }

  function part(title, content, open) {
    const size = `${content.length.toLocaleString('en')} characters`;
    const name = make('summary', null, title, ' ', make('small', { class: 'faded' }, size));
    return make('details', { class: 'part', open }, name, text(content));
  }

  function verdicts(held) {
    if (!held || Object.keys(held).length === 0) return null;
    const said = (one) => (typeof one === 'string' ? one : JSON.stringify(one, null, 1));
    return make('section', { class: 'verdicts' }, make('h4', null, "Judge's verdicts"),
      facts(Object.entries(held).map(([rubric, one]) => [rubric, said(one)])));
  }

  async function answered(run, item) {
    const held = run.answers;
    const said = await answer(run, item);
    const extracted = held.extracted[item];
    const read = extracted === null ? 'no answer' : extracted;
    return make('section', { class: 'answered' },
      make('h3', null, run.name, ' ', mark(isRight(held, item))),
      facts([
        ['extracted', read], ['how', said.method === 'none' ? null : said.method],
        ['failure', held.failure[item]?.replaceAll('_', ' ')], ['finish', said.finish], ['tokens', held.tokens[item]],
        ['reasoning tokens', held.reasoning_tokens?.[item]], ['thinking budget', held.budget?.[item]], ['error', said.error],
      ]),
      said.thinking === null ? null : part('Reasoning', said.thinking, true),
      part('Answer', said.answer, true),
      said.output === null ? null : part('Whole output', said.output, said.answer === '' && said.thinking === null),
      verdicts(said.verdicts));
  }

  /** The letters that a run chose of an item, with the run's name where there are two. */
  function pick(run, item, named) {
    return { name: named ? run.name : '', letters: (run.answers.extracted[item] ?? '').split(',') };
  }

  /** The whole of an item: an element; `other` (a run) and `before` (its item) may be null and undefined. */
  async function detail(run, item, other, before) {
    const asked = await question(run, item);
    const both = Boolean(other) && before !== undefined;
    const picks = both ? [pick(other, before, true), pick(run, item, true)] : [pick(run, item, false)];
    const first = both ? await answered(other, before) : null;
    const missing = other && !both
      ? make('p', { class: 'note' }, `${other.name} has no answer to this question and repetition in this report.`) : null;
    const repetition = run.answers.repetition ? run.answers.repetition[item] : null;
    return make('article', null,
      facts([['id', asked.id], ['question', asked.questionId === asked.id ? null : asked.questionId],
        ['repetition', repetition], ['specialty', asked.specialty]]),
      text(asked.text, 'text question'),
      asked.options.length ? options(asked, picks) : facts([['gold', asked.gold]]),
      missing,
      make('div', { class: both ? 'side-by-side' : 'alone' }, first, await answered(run, item)));
  }

  window.meds1.detail = detail;
})();
