import type { FaultKindForm, HubState, ModuleState } from '../protocol.ts';
import { call } from './api.ts';
import { button, byId, element, numberOf, setBadge } from './dom.ts';
import { Fields, freshId } from './fields.ts';

/** Number of kinds that are shown without expanding the rest. */
const FIRST = 6;

/** The faults of the emulator, and its connection. */
export class Faults {
  readonly #offline: HTMLButtonElement;
  readonly #disconnect: HTMLButtonElement;
  readonly #status = element('p', { class: 'answer', role: 'status' });
  readonly #first = element('div', { class: 'grid' });
  readonly #rest = element('div', { class: 'grid' });
  readonly #more = element('details', { class: 'more' }, element('summary', {}, 'More faults'), this.#rest);
  readonly #switches = new Map<string, { readonly toggle: HTMLButtonElement; readonly hits: HTMLElement }>();
  #module: ModuleState | undefined;
  #isOnline = true;

  constructor(panel: HTMLElement) {
    this.#offline = button('Take the hub offline', () => {
      const path = this.#isOnline ? '/api/offline' : '/api/online';
      this.#do(call('POST', path, {}), this.#isOnline ? 'The hub is offline.' : 'The hub is online again.');
    });
    this.#disconnect = button('Disconnect the module', () => {
      if (this.#module === undefined) return;
      const { deviceId, moduleId } = this.#module;
      const done = `Closed the connection of ${deviceId}/${moduleId}; it may reconnect immediately.`;
      this.#do(call('POST', '/api/disconnect', { deviceId, moduleId }), done);
    });
    const clear = button('Switch all faults off', () => this.#do(call('DELETE', '/api/fault'), 'All faults are off.'));
    const connection = element('section', { class: 'card', 'aria-labelledby': 'connection-title' });
    connection.append(
      element('h2', { id: 'connection-title' }, 'Connection'),
      element('p', { class: 'weak' }, 'Received messages and twins are kept.'),
      element('div', { class: 'buttons' }, this.#disconnect, this.#offline, clear),
      this.#status,
    );
    panel.append(connection, this.#first, this.#more);
  }

  setForms(forms: readonly FaultKindForm[]): void {
    this.#switches.clear();
    this.#first.replaceChildren(...forms.slice(0, FIRST).map((form) => this.#card(form)));
    this.#rest.replaceChildren(...forms.slice(FIRST).map((form) => this.#card(form)));
    this.#more.hidden = forms.length <= FIRST;
  }

  setModule(module: ModuleState | undefined): void {
    this.#module = module;
    this.#disconnect.disabled = module === undefined;
  }

  setState({ online, faults }: HubState): void {
    this.#isOnline = online;
    this.#offline.textContent = online ? 'Take the hub offline' : 'Bring the hub online';
    const active = new Map(faults.map(({ kind, hits }) => [kind, hits]));
    for (const [kind, { toggle, hits }] of this.#switches) {
      const count = active.get(kind);
      toggle.setAttribute('aria-checked', String(count !== undefined));
      hits.textContent = count === undefined ? '' : `On; applied ${count === 1 ? 'once' : `${numberOf(count)} times`}.`;
    }
    const total = faults.length + (online ? 0 : 1);
    setBadge('fault-count', total === 0 ? '' : String(total), ' on');
  }

  #card({ kind, title, about, fields }: FaultKindForm): HTMLElement {
    const form = new Fields(fields);
    const name = element('h2', { id: freshId('fault') }, title);
    const hits = element('p', { class: 'answer' });
    const toggle = button(
      '',
      () => {
        if (toggle.getAttribute('aria-checked') === 'true')
          return this.#do(call('DELETE', `/api/fault?kind=${encodeURIComponent(kind)}`), `Off: ${title}.`);
        const values = form.read();
        if (values !== undefined) this.#do(call('POST', '/api/fault', { ...values, kind }), `On: ${title}.`);
      },
      { role: 'switch', 'aria-checked': 'false', 'aria-labelledby': name.id, class: 'switch' },
    );
    this.#switches.set(kind, { toggle, hits });
    const settings = element('details', { class: 'more' }, element('summary', {}, 'Settings'), form.node);
    settings.open = fields.some(({ required, initial }) => required && initial === undefined);
    const card = element('section', { class: 'card', 'aria-labelledby': name.id });
    card.append(element('div', { class: 'bar' }, name, toggle), element('p', { class: 'weak' }, about), settings, hits);
    return card;
  }

  #do(work: Promise<unknown>, done: string): void {
    const say = (text: string) => {
      this.#status.textContent = text;
      byId('announcement').textContent = text;
    };
    work.then(
      () => say(done),
      (error: Error) => say(error.message),
    );
  }
}
