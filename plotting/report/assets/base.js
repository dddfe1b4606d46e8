'use strict';
// What every page needs: the theme, data files, the state in the URL's hash, and making elements from text.
// Texts of models and people become text nodes only; nothing in the report is ever parsed as HTML by a script.

(() => {
  const THEME = 'meds1-theme';
  const CHUNKS_KEPT = 240; // of questions and answers, some 0.6 MB each at most
  const root = document.documentElement;
  const loading = new Map(); // key -> promise of its data
  const waiting = new Map(); // key -> resolve of the promise that waits for its script

  /** Called by each data file. */
  window.meds1Data = (key, value) => {
    const resolve = waiting.get(key);
    waiting.delete(key);
    if (resolve) resolve(value);
  };

  /** The data of a key: the path below data/ without `.js`. Rejects with a sentence for the reader. */
  function load(key) {
    if (!loading.has(key)) loading.set(key, fetched(key));
    const promise = loading.get(key);
    forgetOldChunks(key);
    return promise;
  }

  // A page that was opened from disk may not fetch(); a script element may load from anywhere below the folder.
  function fetched(key) {
    return new Promise((resolve, reject) => {
      const file = `data/${key}.js`;
      const script = document.createElement('script');
      const fail = (what) => {
        waiting.delete(key);
        loading.delete(key);
        reject(new Error(`${file} ${what}; copy the whole folder of the report, or make it anew with meds1 report`));
      };
      script.onerror = () => fail('cannot be read');
      script.onload = () => {
        script.remove();
        if (waiting.has(key)) fail('is damaged');
      };
      waiting.set(key, resolve);
      script.src = (root.dataset.root || '') + file.split('/').map(encodeURIComponent).join('/');
      document.head.append(script);
    });
  }

  function forgetOldChunks(key) {
    const promise = loading.get(key);
    loading.delete(key);
    loading.set(key, promise); // the newest comes last
    const chunks = [...loading.keys()].filter((name) => /^(answers|questions)\//.test(name) && !waiting.has(name));
    for (const name of chunks.slice(0, Math.max(0, chunks.length - CHUNKS_KEPT))) loading.delete(name);
  }

  /** An element: `properties` are attributes (true: empty, null and false: left out), functions are listeners. */
  function make(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === 'function') element.addEventListener(name, value);
      else element.setAttribute(name, value === true ? '' : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  /** A labelled control of a toolbar. */
  function labelled(text, control) {
    return make('label', { class: 'control-label' }, make('span', null, text), control);
  }

  /** A select of [value, title] pairs. */
  function choice(pairs, chosen, onChange) {
    const options = pairs.map(([value, title]) => make('option', { value, selected: value === chosen }, title));
    return make('select', { change: (event) => onChange(event.target.value) }, ...options);
  }

  // C0 and C1 but tab and newline; marks of direction and of no width; halves of surrogate pairs.
  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]|\p{Cs}/gu;

  /** Nodes that show a text as it is: what has no glyph of its own is shown by its code point. */
  function shown(text) {
    const fragment = document.createDocumentFragment();
    let end = 0;
    for (const match of text.matchAll(HIDDEN)) {
      const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
      fragment.append(text.slice(end, match.index), make('span', { class: 'hidden-character' }, `U+${code}`));
      end = match.index + match[0].length;
    }
    fragment.append(text.slice(end));
    return fragment;
  }

  /** The state in the URL's hash. */
  function state() {
    return new URLSearchParams(location.hash.slice(1));
  }

  /** Put a state of [name, value] pairs into the hash without a step in the history; empty values are left out. */
  function keep(pairs) {
    const kept = new URLSearchParams(pairs.filter(([, value]) => value !== '' && value !== null));
    history.replaceState(null, '', `#${kept}`);
  }

  /** A link's target on a page of the report, with a state. */
  function address(page, pairs) {
    return `${root.dataset.root || ''}${page}#${new URLSearchParams(pairs)}`;
  }

  /** A metric's value for people; shares in percent. */
  function value(number, unit) {
    if (unit === 'share') return (100 * number).toFixed(1);
    return unit === 'tokens' ? Math.round(number).toLocaleString('en') : number.toFixed(2);
  }

  /** Call `action` once the calls stop for a moment. */
  function calm(action, milliseconds) {
    let timer = 0;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(action, milliseconds);
    };
  }

  /** Show what went wrong in place of (or in front of) a part of the page. */
  function warn(place, error) {
    place.replaceChildren(make('p', { class: 'warning', role: 'alert' }, error.message));
  }

  /** Let the keyboard reach what scrolls, and a reader hear what it is; what fits is no stop on the way. */
  function watchScrolling() {
    const resized = new ResizeObserver((entries) => {
      for (const { target } of entries) {
        const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
        const named = target.querySelector('caption') ?? target.previousElementSibling;
        const given = scrolls ? { tabindex: '0', role: 'region', 'aria-label': named?.textContent ?? 'Text' } : {};
        for (const name of ['tabindex', 'role', 'aria-label']) {
          if (name in given) target.setAttribute(name, given[name]);
          else target.removeAttribute(name);
        }
      }
    });
    const watch = () => document.querySelectorAll('.scroll, pre.log').forEach((place) => resized.observe(place));
    new MutationObserver(watch).observe(document.body, { childList: true, subtree: true });
    watch();
  }

  function stored() {
    try {
      return localStorage.getItem(THEME);
    } catch (error) {
      if (error.name === 'SecurityError') return null; // a browser that keeps nothing for pages from disk
      throw error;
    }
  }

  function dress(theme) {
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
  }

  function isDark() {
    return (root.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
  }

  function addThemeButton() {
    const header = document.querySelector('header.site');
    if (!header) return;
    const button = make('button', { type: 'button', id: 'theme' });
    const name = () => (button.textContent = isDark() ? '☀ Light' : '☾ Dark');
    button.addEventListener('click', () => {
      dress(isDark() ? 'light' : 'dark');
      name();
      if (stored() !== root.dataset.theme) remember(root.dataset.theme);
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', name);
    name();
    header.append(button);
  }

  function remember(theme) {
    try {
      localStorage.setItem(THEME, theme);
    } catch (error) {
      if (error.name !== 'SecurityError') throw error;
    }
  }

  dress(stored());
  document.addEventListener('DOMContentLoaded', () => {
    addThemeButton();
    watchScrolling();
  });
  window.meds1 = { load, make, labelled, choice, shown, state, keep, address, value, calm, warn };
})();
