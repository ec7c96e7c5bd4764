import type { EventRow, MessageRow } from '../protocol.ts';
import { call } from './api.ts';
import { button, bytesOf, element, numberOf, timeOf } from './dom.ts';
import { groupOf } from './kinds.ts';

/** Shows the message with this number as JSON in `details`, and loads it when that is opened for the first time. */
export function rawMessage(details: HTMLDetailsElement, sequence: number): HTMLElement {
  const label = `Message ${sequence} as JSON`;
  const text = element('pre', { class: 'raw', tabindex: 0, role: 'region', 'aria-label': label }, 'Loading …');
  const load = async () => {
    details.removeEventListener('toggle', loadIfOpen);
    try {
      text.textContent = (await call<{ text: string }>('GET', `/api/message?sequence=${sequence}`)).text;
    } catch (error) {
      text.textContent = (error as Error).message;
      details.addEventListener('toggle', loadIfOpen);
    }
  };
  const loadIfOpen = () => {
    if (details.open) void load();
  };
  details.addEventListener('toggle', loadIfOpen);
  loadIfOpen();
  return text;
}

/** Maximum number of events; the oldest are dropped first. */
const MAX_EVENTS = 3_000;
/** Number of rows shown at first, and added on request. */
const SHOWN = 200;
/** Maximum number of event names in the filter; the agent has 16. */
const MAX_NAMES = 32;

interface Entry {
  readonly event: EventRow;
  readonly message: MessageRow;
  /** The searched text, in lower case. */
  readonly text: string;
  item?: HTMLElement;
}

/** The events, the newest first, with filter and search. */
export class Events {
  readonly node = element('section', { class: 'card events', 'aria-labelledby': 'events-title' });
  readonly #list = element('ol', { class: 'rows', 'aria-label': 'Events, the newest first' });
  readonly #shownText = element('output', { class: 'weak' });
  readonly #search = element('input', {
    type: 'search',
    id: 'search',
    placeholder: 'Command, user, address …',
    autocomplete: 'off',
    spellcheck: 'false',
    'aria-keyshortcuts': '/',
  });
  readonly #priority = element(
    'select',
    {},
    ...['Any', 'High', 'Low'].map((name) => element('option', { value: name === 'Any' ? '' : name }, name)),
  );
  readonly #names = element('fieldset', { class: 'chips' }, element('legend', {}, 'Kinds'));
  readonly #chips = new Map<string, { readonly box: HTMLInputElement; readonly count: HTMLElement; total: number }>();
  readonly #pause: HTMLButtonElement;
  readonly #more: HTMLButtonElement;
  readonly #empty = element('p', { class: 'weak' }, 'Nothing yet. Events appear here as soon as the agent sends them.');
  /** Newest first. */
  #entries: Entry[] = [];
  #limit = SHOWN;
  #module = '';
  #isPaused = false;
  /** Number of events received while the list was paused. */
  #waiting = 0;
  #skipped = 0;

  constructor() {
    this.#pause = button('Pause', () => this.#togglePause(), { 'aria-pressed': 'false' });
    this.#more = button('Show more', () => {
      this.#limit += SHOWN;
      this.#show();
    });
    const clear = button('Clear', () => {
      this.#entries = [];
      this.#limit = SHOWN;
      this.#show();
    });
    for (const control of [this.#search, this.#priority, this.#names])
      control.addEventListener('input', () => {
        this.#limit = SHOWN;
        this.#show();
      });
    this.node.append(
      element('div', { class: 'bar' }, element('h2', { id: 'events-title' }, 'Events'), this.#shownText),
      element(
        'div',
        { class: 'filter', role: 'search', 'aria-label': 'Event filter' },
        element('label', { class: 'grow' }, element('span', {}, 'Search'), this.#search),
        element('label', {}, element('span', {}, 'Priority'), this.#priority),
        this.#pause,
        clear,
      ),
      this.#names,
      this.#empty,
      this.#list,
      this.#more,
    );
    this.#names.hidden = true;
    this.#show();
  }

  focusSearch(): void {
    this.#search.focus();
    this.#search.select();
  }

  /** Shows only events of this module, `device/module`; all events if empty. */
  setModule(module: string): void {
    if (module === this.#module) return;
    this.#module = module;
    this.#show();
  }

  /** @param messages oldest first @param skipped number of messages that the server omitted */
  add(messages: readonly MessageRow[], skipped: number): void {
    this.#skipped += skipped;
    const entries = messages
      .flatMap((message) => message.events.map((event): Entry => ({ event, message, text: textOf(event, message) })))
      .reverse();
    for (const { event } of entries) this.#countName(event.name);
    this.#entries = [...entries, ...this.#entries].slice(0, MAX_EVENTS);
    if (this.#isPaused) this.#waiting += entries.length;
    else this.#prepend(entries);
    this.#showText();
  }

  #togglePause(): void {
    this.#isPaused = !this.#isPaused;
    this.#pause.setAttribute('aria-pressed', String(this.#isPaused));
    this.#waiting = 0;
    if (this.#isPaused) this.#showText();
    else this.#show();
  }

  #countName(name: string): void {
    const known = this.#chips.get(name);
    if (known !== undefined) {
      known.total += 1;
      known.count.textContent = numberOf(known.total);
      return;
    }
    if (this.#chips.size >= MAX_NAMES) return;
    const box = element('input', { type: 'checkbox', value: name });
    const count = element('span', { class: 'count' }, '1');
    this.#chips.set(name, { box, count, total: 1 });
    const dot = element('span', { class: `dot ${groupOf(name)}`, 'aria-hidden': 'true' });
    const chip = element('label', { class: 'chip' }, box, dot, element('bdi', {}, name), count);
    chip.dataset.name = name;
    const next = [...this.#names.querySelectorAll<HTMLElement>('.chip')].find(
      (other) => (other.dataset.name ?? '') > name,
    );
    this.#names.insertBefore(chip, next ?? null);
    this.#names.hidden = false;
  }

  #filter(): (entry: Entry) => boolean {
    const words = this.#search.value
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== '');
    const names = new Set([...this.#chips].filter(([, { box }]) => box.checked).map(([name]) => name));
    const priority = this.#priority.value;
    return ({ event, message, text }) =>
      (names.size === 0 || names.has(event.name)) &&
      (priority === '' || message.priority === priority) &&
      (this.#module === '' || message.module === this.#module) &&
      words.every((word) => text.includes(word));
  }

  /** Adds rows on top, so that existing rows and their open details stay. */
  #prepend(entries: readonly Entry[]): void {
    const fitting = entries.filter(this.#filter()).slice(0, this.#limit);
    this.#list.prepend(...fitting.map(itemOf));
    while (this.#list.childElementCount > this.#limit) {
      const oldest = [...this.#list.children].findLast((item) => !item.contains(document.activeElement));
      if (oldest === undefined) break;
      oldest.remove();
    }
    this.#showText();
  }

  #show(): void {
    const fitting = this.#entries.filter(this.#filter()).slice(0, this.#limit);
    this.#list.replaceChildren(...fitting.map(itemOf));
    this.#showText();
  }

  #showText(): void {
    const fits = this.#filter();
    const matching = this.#entries.filter(fits).length;
    const shown = this.#list.childElementCount;
    const parts = [
      matching === this.#entries.length
        ? `${numberOf(matching)} events`
        : `${numberOf(matching)} of ${numberOf(this.#entries.length)} events`,
      ...(this.#isPaused ? [`paused, ${numberOf(this.#waiting)} new`] : []),
      ...(this.#skipped > 0 ? [`${numberOf(this.#skipped)} messages not shown`] : []),
    ];
    this.#shownText.textContent = parts.join(' · ');
    this.#more.hidden = shown >= matching || this.#isPaused;
    this.#list.hidden = shown === 0;
    this.#empty.hidden = shown > 0;
    this.#empty.textContent =
      this.#entries.length > 0
        ? 'No event matches the filter.'
        : 'Nothing yet. Events appear here as soon as the agent sends them.';
  }
}

const textOf = ({ name, lines, notes }: EventRow, { module, sequence }: MessageRow) =>
  [name, ...lines, ...notes, module, String(sequence)].join('\n').toLowerCase();

function itemOf(entry: Entry): HTMLElement {
  entry.item ??= row(entry);
  return entry.item;
}

function row({ event, message }: Entry): HTMLElement {
  const { name, time, lines, notes } = event;
  const [first = '', ...more] = lines;
  const details = element('details');
  const count = more.length + notes.length;
  details.append(
    element(
      'summary',
      {},
      timeOf(time === '' ? message.at : time),
      element(
        'span',
        { class: 'kind' },
        element('span', { class: `dot ${groupOf(name)}`, 'aria-hidden': 'true' }),
        element('bdi', {}, name),
      ),
      element('bdi', { class: 'line' }, first),
      count > 0 ? element('span', { class: 'weak extra' }, `+${count}`) : undefined,
    ),
  );
  const body = element('div', { class: 'body' });
  details.append(body);
  details.addEventListener('toggle', () => {
    if (!details.open || body.childElementCount > 0) return;
    const texts = [...lines, ...notes];
    if (texts.length > 1)
      body.append(element('ul', {}, ...texts.map((text) => element('li', {}, element('bdi', {}, text)))));
    body.append(element('p', { class: 'weak' }, ...about(message)), rawMessage(details, message.sequence));
  });
  return element('li', { class: name === 'SecurityAlert' ? 'row alert' : 'row' }, details);
}

function about({ sequence, at, module, priority, bytes, units, duplicate, left }: MessageRow): (Node | string)[] {
  const blocks = units === 1 ? '1 block' : `${units} blocks`;
  return [
    `Message ${numberOf(sequence)}${priority === '' ? '' : `, ${priority}`}, from `,
    element('bdi', {}, module),
    `, ${bytesOf(bytes)}, ${blocks} of 4 KB, received `,
    timeOf(at),
    duplicate ? ', a duplicate' : '',
    left > 0 ? `; ${numberOf(left)} more events of it have no row` : '',
    '.',
  ];
}
