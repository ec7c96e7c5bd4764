import type { Minute, Totals } from '../protocol.ts';
import { bytesOf, element, numberOf, svg } from './dom.ts';
import { GROUPS, type GroupId, groupOf } from './kinds.ts';

/** Number of minutes that the chart shows. */
const SHOWN = 30;
const WIDTH = 600;
const HEIGHT = 130;
const GAP = 4;

/** Measures that the bars can show. */
const MEASURES = {
  events: { title: 'Events', text: numberOf, of: ({ events }: Minute) => sum(Object.values(events)) },
  bytes: { title: 'Bytes', text: bytesOf, of: ({ bytes }: Minute) => bytes },
  units: { title: '4-KB units', text: numberOf, of: ({ units }: Minute) => units },
} as const;
type Measure = keyof typeof MEASURES;

const sum = (numbers: readonly number[]) => numbers.reduce((all, each) => all + each, 0);
const NO_MINUTE: Omit<Minute, 'minute'> = { messages: 0, bytes: 0, units: 0, events: {} };
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hour12: false });
const clockOf = (minute: number) => CLOCK.format(new Date(minute * 60_000));

/** Traffic per minute: as a chart, as a table, and the totals. */
export class Chart {
  readonly node = element('section', { class: 'card traffic', 'aria-labelledby': 'chart-title' });
  readonly #totals = element('dl', { class: 'totals' });
  readonly #picture = element('div', { class: 'picture' });
  readonly #legend = element('ul', { class: 'legend', 'aria-hidden': 'true' });
  readonly #table = element('div', {
    class: 'scroll',
    tabindex: 0,
    role: 'region',
    'aria-label': 'Traffic as a table',
  });
  readonly #details = element('details', { class: 'more' }, element('summary', {}, 'As a table'), this.#table);
  readonly #minutes = new Map<number, Minute>();
  #measure: Measure = 'events';

  constructor() {
    const choice = element('fieldset', { class: 'segments' }, element('legend', { class: 'unseen' }, 'Measure'));
    for (const [id, { title }] of Object.entries(MEASURES)) {
      const box = element('input', { type: 'radio', name: 'measure', value: id, checked: id === this.#measure });
      choice.append(element('label', {}, box, element('span', {}, title)));
    }
    choice.addEventListener('change', (event) => {
      this.#measure = (event.target as HTMLInputElement).value as Measure;
      this.#draw();
    });
    const title = element('h2', { id: 'chart-title' }, 'Traffic per minute');
    const bar = element('div', { class: 'bar' }, title, choice);
    this.node.append(bar, this.#totals, this.#picture, this.#legend, this.#details);
    this.#details.addEventListener('toggle', () => this.#draw());
    setInterval(() => this.#draw(), 10_000); // the minutes advance even without messages
  }

  update(minutes: readonly Minute[], { messages, events, bytes, units }: Totals): void {
    for (const minute of minutes) this.#minutes.set(minute.minute, minute);
    const oldest = thisMinute() - SHOWN;
    for (const minute of this.#minutes.keys()) if (minute < oldest) this.#minutes.delete(minute);
    const totals = [
      ['Messages', numberOf(messages)],
      ['Events', numberOf(events)],
      ['Sent', bytesOf(bytes)],
      ['4-KB units', numberOf(units)],
    ] as const;
    this.#totals.replaceChildren(
      ...totals.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))),
    );
    this.#draw();
  }

  #draw(): void {
    const last = thisMinute();
    const minutes = Array.from({ length: SHOWN }, (_, index): Minute => {
      const minute = last - SHOWN + 1 + index;
      return this.#minutes.get(minute) ?? { ...NO_MINUTE, minute };
    });
    const present = GROUPS.filter(({ id }) => minutes.some((minute) => byGroup(minute).has(id)));
    this.#picture.replaceChildren(...this.#bars(minutes));
    const isByKind = this.#measure === 'events';
    this.#legend.replaceChildren(
      ...(isByKind ? present : []).map(({ id, title }) =>
        element('li', {}, element('span', { class: `dot ${id}` }), title),
      ),
    );
    if (this.#details.open) this.#table.replaceChildren(tableOf(minutes));
  }

  #bars(minutes: readonly Minute[]): Element[] {
    const { title, text, of } = MEASURES[this.#measure];
    const most = Math.max(1, ...minutes.map(of));
    const latest = minutes.at(-1);
    const label = `${title} per minute, for ${SHOWN} minutes; at most ${text(most)}, in this minute ${text(latest ? of(latest) : 0)}. The same is in the table below.`;
    const step = WIDTH / SHOWN;
    const bars = minutes.map((minute, index) => {
      const parts: readonly (readonly [string, number])[] =
        this.#measure === 'events' ? [...byGroup(minute)] : [['measure', of(minute)]];
      let top = HEIGHT;
      const rects = parts.map(([group, value]) => {
        const height = (value / most) * (HEIGHT - 4);
        top -= height;
        return svg('rect', { class: group, x: index * step + GAP / 2, y: top, width: step - GAP, height });
      });
      return svg('g', {}, svg('title', {}, hint(minute)), hover(index * step, step), ...rects);
    });
    const base = svg('line', { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT, class: 'base' });
    const size = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none' };
    const chart = svg('svg', { ...size, role: 'img', 'aria-label': label }, ...bars, base);
    const scale = element('div', { class: 'scale', 'aria-hidden': 'true' });
    scale.append(
      element('span', {}, clockOf(minutes[0]?.minute ?? 0)),
      element('span', {}, `at most ${text(most)} per minute`),
      element('span', {}, 'now'),
    );
    return [chart, scale];
  }
}

const thisMinute = () => Math.floor(Date.now() / 60_000);

/** Reacts to the pointer over the whole height, so that low bars have a tooltip, too. */
const hover = (x: number, width: number) => svg('rect', { class: 'hover', x, y: 0, width, height: HEIGHT });

/** Counts in the order of the groups, from the bottom up. */
function byGroup({ events }: Minute): Map<GroupId, number> {
  const counts = new Map<GroupId, number>();
  for (const { id } of GROUPS) {
    const count = sum(
      Object.entries(events)
        .filter(([name]) => groupOf(name) === id)
        .map(([, number]) => number),
    );
    if (count > 0) counts.set(id, count);
  }
  return counts;
}

function hint(minute: Minute): string {
  const kinds = Object.entries(minute.events).sort(([, a], [, b]) => b - a);
  const lines = kinds.map(([name, count]) => `${name}: ${numberOf(count)}`);
  const { messages, bytes, units } = minute;
  const sizes = `${numberOf(messages)} messages, ${bytesOf(bytes)}, ${numberOf(units)} blocks`;
  return [clockOf(minute.minute), sizes, ...lines].join('\n');
}

function tableOf(minutes: readonly Minute[]): HTMLElement {
  const head = ['Minute', 'Messages', 'Bytes', 'Blocks', 'Events by kind'];
  const rows = minutes
    .filter(({ messages }) => messages > 0)
    .reverse()
    .map((minute) => {
      const { messages, bytes, units, events } = minute;
      const kinds = Object.entries(events).map(([name, count]) => `${name} ${count}`);
      const cells = [numberOf(messages), numberOf(bytes), numberOf(units), kinds.join(', ')];
      const first = element('th', { scope: 'row' }, clockOf(minute.minute));
      return element('tr', {}, first, ...cells.map((text) => element('td', {}, element('bdi', {}, text))));
    });
  const headRow = element('tr', {}, ...head.map((text) => element('th', { scope: 'col' }, text)));
  return element('table', {}, element('thead', {}, headRow), element('tbody', {}, ...rows));
}
