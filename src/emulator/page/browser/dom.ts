/* Creates elements. Strings become text nodes only; the Content-Security-Policy forbids every conversion to HTML. */

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;
type Child = Node | string | undefined;

/** An element with attributes and children. `true` sets an attribute without a value; `false` and `undefined` none. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function filled<E extends Element>(target: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) target.setAttribute(name, value === true ? '' : String(value));
  }
  target.append(...children.filter((child) => child !== undefined));
  return target;
}

/** A button that calls `act` when pressed. */
export function button(text: string, act: () => void, attributes: Attributes = {}): HTMLButtonElement {
  const made = element('button', { type: 'button', ...attributes }, text);
  made.addEventListener('click', act);
  return made;
}

/** An element of index.html. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as E;
}

/** Shows a string in a badge, or hides the badge. */
export function setBadge(id: string, text: string, description = ''): void {
  const badge = byId(id);
  badge.hidden = text === '';
  badge.replaceChildren(text, element('span', { class: 'unseen' }, description));
}

const TIME = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
});

/** A time of day in the browser's zone, with the full time as a tooltip. Other text stays unchanged. */
export function timeOf(text: string): HTMLElement {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return element('span', { class: 'time' }, text);
  return element('time', { class: 'time', datetime: time.toISOString(), title: text }, TIME.format(time));
}

const NUMBER = new Intl.NumberFormat('en');
export const numberOf = (count: number): string => NUMBER.format(count);

export function bytesOf(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(1)} ${units[power - 1]}`;
}
