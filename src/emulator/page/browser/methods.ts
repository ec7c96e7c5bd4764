import type { MethodForm, ModuleState } from '../protocol.ts';
import { call } from './api.ts';
import { button, byId, element } from './dom.ts';
import { Fields } from './fields.ts';

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** The direct methods, each with a form for its payload. */
export class Methods {
  readonly #choose = element(
    'p',
    { class: 'notice' },
    'Choose a module above: direct methods are called on one module.',
  );
  readonly #cards = element('div', { class: 'grid' });
  #module: ModuleState | undefined;

  constructor(panel: HTMLElement) {
    panel.append(this.#choose, this.#cards);
  }

  setForms(forms: readonly MethodForm[]): void {
    this.#cards.replaceChildren(...forms.map((form) => this.#card(form)));
  }

  setModule(module: ModuleState | undefined): void {
    this.#module = module;
    this.#choose.hidden = module !== undefined;
    this.#cards.hidden = module === undefined;
  }

  #card({ name, about, fields }: MethodForm): HTMLElement {
    const form = new Fields(fields);
    const status = element('p', { class: 'answer', role: 'status' });
    const text = element('pre', {
      class: 'raw',
      tabindex: 0,
      role: 'region',
      'aria-label': `Answer of ${name}`,
      hidden: true,
    });
    const press = button(`Call ${name}`, () => {
      const payload = form.read();
      if (payload === undefined || this.#module === undefined) return;
      const { deviceId, moduleId } = this.#module;
      press.setAttribute('aria-disabled', 'true');
      status.textContent = 'Waiting for the answer …';
      status.className = 'answer';
      text.hidden = true;
      call<Answer>('POST', '/api/method', { deviceId, moduleId, name, payload })
        .then(
          (answer) => {
            status.textContent = `Answered with status ${answer.status}.`;
            status.classList.add(answer.status < 300 ? 'good' : 'bad');
            text.textContent = answer.text;
            text.hidden = false;
          },
          (error: Error) => {
            status.textContent = error.message;
            status.classList.add('bad');
          },
        )
        .finally(() => {
          press.removeAttribute('aria-disabled');
          byId('announcement').textContent = `${name}: ${status.textContent}`;
        });
    });
    press.classList.add('primary');
    const title = element('h2', {}, name);
    const card = element('section', { class: 'card', 'aria-label': name });
    card.append(title, element('p', { class: 'weak' }, about), form.node, press, status, text);
    return card;
  }
}
