import { ALERT_SEVERITIES, type AlertRow } from '../protocol.ts';
import { byId, element, numberOf, setBadge, timeOf } from './dom.ts';
import { rawMessage } from './events.ts';

/** Maximum number of alerts; the least recent are dropped first. */
const MAX_ALERTS = 100;

/** The alerts, the most severe first. */
export class Alerts {
  readonly node = element('section', { class: 'card alerts', 'aria-labelledby': 'alerts-title' });
  readonly #list = element('ol', { class: 'rows' });
  readonly #counts = element('p', { class: 'counts' });
  readonly #empty = element('p', { class: 'weak' }, 'No alerts: no reported event looks like an attack.');
  readonly #alerts = new Map<string, { readonly alert: AlertRow; readonly item: HTMLElement }>();

  constructor() {
    const title = element('h2', { id: 'alerts-title' }, 'Alerts');
    this.node.append(element('div', { class: 'bar' }, title, this.#counts), this.#empty, this.#list);
    this.#list.hidden = true;
  }

  /** Adds alerts, or replaces them with their latest state. @param announce whether screen readers announce them */
  add(alerts: readonly AlertRow[], announce: boolean): void {
    if (alerts.length === 0) return;
    for (const alert of alerts) {
      const key = `${alert.module} ${alert.id}`;
      const old = this.#alerts.get(key);
      const item = itemOf(alert);
      const isOpen = old?.item.querySelector('details')?.open ?? false;
      if (isOpen) (item.firstElementChild as HTMLDetailsElement).open = true;
      this.#alerts.delete(key);
      this.#alerts.set(key, { alert, item });
      if (announce && old === undefined)
        byId('announcement').textContent = `New alert, ${alert.severity}: ${alert.title}`;
    }
    for (const key of this.#alerts.keys()) if (this.#alerts.size > MAX_ALERTS) this.#alerts.delete(key);
    this.#show();
  }

  #show(): void {
    const sorted = [...this.#alerts.values()].sort(
      (a, b) => rank(a.alert) - rank(b.alert) || b.alert.lastSeen.localeCompare(a.alert.lastSeen),
    );
    this.#list.replaceChildren(...sorted.map(({ item }) => item));
    this.#list.hidden = sorted.length === 0;
    this.#empty.hidden = sorted.length > 0;
    const counts = ALERT_SEVERITIES.map((severity) => ({
      severity,
      count: sorted.filter(({ alert }) => alert.severity === severity).length,
    })).filter(({ count }) => count > 0);
    this.#counts.replaceChildren(
      ...counts.map(({ severity, count }) =>
        element('span', { class: `severity ${severity.toLowerCase()}` }, `${numberOf(count)} ${severity}`),
      ),
    );
    setBadge('alert-count', sorted.length === 0 ? '' : numberOf(sorted.length), ' alerts');
  }
}

const rank = ({ severity }: AlertRow) => ALERT_SEVERITIES.indexOf(severity);

function itemOf(alert: AlertRow): HTMLElement {
  const { severity, title, type, count, firstSeen, lastSeen, subject, techniques, remediation, module, sequence } =
    alert;
  const details = element('details');
  const facts: readonly (readonly [string, string | Node])[] = [
    ['What to do', remediation],
    ['About', subject],
    ['Type', type],
    ['MITRE ATT&CK', techniques],
    ['Module', module],
    ['First seen', timeOf(firstSeen)],
    ['Last seen', timeOf(lastSeen)],
  ];
  details.append(
    element(
      'summary',
      {},
      element('span', { class: `severity ${severity.toLowerCase()}` }, severity),
      timeOf(lastSeen),
      element(
        'span',
        { class: 'line' },
        element(
          'span',
          {},
          element('b', {}, element('bdi', {}, title)),
          count > 1 ? ` ×${numberOf(count)} ` : ' ',
          element('bdi', { class: 'weak' }, subject),
        ),
      ),
    ),
    element(
      'dl',
      {},
      ...facts
        .filter(([, fact]) => fact !== '')
        .flatMap(([name, fact]) => [element('dt', {}, name), element('dd', {}, element('bdi', {}, fact))]),
    ),
    rawMessage(details, sequence),
  );
  return element('li', { class: 'row' }, details);
}
