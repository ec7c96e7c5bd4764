import { printable, printableJson } from '../../../core/base/text.ts';
import type { Finding, ModuleState, SettingForm, TwinCheck, TwinView } from '../protocol.ts';
import { ApiError, call } from './api.ts';
import { button, byId, element, setBadge } from './dom.ts';
import { type Control, controlFor, freshId, readText } from './fields.ts';

type Section = Readonly<Record<string, unknown>>;

/** Delay between the last change and the check of the draft. */
const CHECK_AFTER_MS = 250;

const isObject = (value: unknown): value is Section =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const own = (object: unknown, name: string): unknown =>
  isObject(object) && Object.hasOwn(object, name) ? object[name] : undefined;
const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
const pretty = (value: unknown) => printableJson(JSON.stringify(value, null, 2));
/** A value of the twin for display; `undefined` is the empty string. */
const textOf = (value: unknown): string =>
  value === undefined ? '' : printable(typeof value === 'string' ? value : JSON.stringify(value));
/** The same for editing, where the value must stay unchanged. */
const editable = (value: unknown): string =>
  value === undefined ? '' : typeof value === 'string' ? value : printableJson(JSON.stringify(value));

const capital = (text: string) => text.slice(0, 1).toUpperCase() + text.slice(1);

interface Row {
  readonly form: SettingForm;
  readonly node: HTMLElement;
  readonly control: Control;
  readonly reported: HTMLElement;
  readonly marks: HTMLElement;
  readonly fault: HTMLElement;
}

/** Adds a value that is spelled differently or is not among the choices, so that it is shown unchanged. */
function allow(select: HTMLSelectElement, value: string): void {
  if ([...select.options].some((option) => option.value === value)) return;
  select.append(element('option', { value }, printable(value)));
}

/** The module twin: desired properties for editing, next to the reported ones. */
export class Twin {
  readonly #choose = element('p', { class: 'notice' }, 'Choose a module above: each has its own twin.');
  readonly #body = element('div', { class: 'twin' });
  readonly #versions = element('p', { class: 'weak' });
  readonly #status = element('p', { class: 'answer', role: 'status' });
  readonly #findings = element('div', { class: 'findings' });
  readonly #send: HTMLButtonElement;
  readonly #force: HTMLButtonElement;
  readonly #revert: HTMLButtonElement;
  readonly #search = element('input', { type: 'search', placeholder: 'Name of a property …', autocomplete: 'off' });
  readonly #only = element('input', { type: 'checkbox' });
  readonly #rows = element('div', { class: 'settings', role: 'table', 'aria-label': 'Settings in the module twin' });
  readonly #desiredText = element('textarea', {
    rows: 16,
    spellcheck: 'false',
    'aria-label': 'Desired properties as JSON',
  });
  readonly #reportedText = element('pre', {
    class: 'raw',
    tabindex: 0,
    role: 'region',
    'aria-label': 'Reported properties as JSON',
  });
  #forms = new Map<string, Row>();
  #object = '';
  #module: ModuleState | undefined;
  #twin: TwinView | undefined;
  /** The desired properties as edited. */
  #draft: Section = {};
  /** The version of the desired properties on which the draft is based: a later version must not be overwritten. */
  #base = 0;
  /** The last later version that was announced: each reading would otherwise replace newer messages. */
  #announcedVersion = 0;
  #checkTimer: ReturnType<typeof setTimeout> | undefined;
  /** Numbers of the last check and the last reading of the twin: an earlier one may complete later. */
  #checks = 0;
  #loads = 0;
  #sentVersion: number | undefined;

  constructor(panel: HTMLElement) {
    this.#send = button('Send to the hub', () => void this.#sendDraft(false), { class: 'primary' });
    this.#force = button('Send anyway, to see it rejected', () => void this.#sendDraft(true));
    this.#revert = button('Discard the changes', () => this.#discard());
    this.#search.addEventListener('input', () => this.#filter());
    this.#only.addEventListener('change', () => this.#filter());
    this.#desiredText.addEventListener('input', () => this.#takeText());
    const bar = element(
      'div',
      { class: 'filter' },
      element('label', { class: 'grow' }, element('span', {}, 'Search'), this.#search),
      element('label', { class: 'check' }, this.#only, 'Only properties that are set, changed or different'),
    );
    const json = element(
      'details',
      { class: 'card' },
      element('summary', {}, 'The whole twin as JSON'),
      element(
        'div',
        { class: 'columns' },
        element('div', {}, element('h3', {}, 'Desired, to edit'), this.#desiredText),
        element('div', {}, element('h3', {}, 'Reported'), this.#reportedText),
      ),
    );
    const actions = element('div', { class: 'buttons' }, this.#send, this.#revert, this.#force);
    const head = element(
      'div',
      { class: 'card sticky' },
      element('div', { class: 'bar' }, actions, this.#versions),
      this.#status,
      this.#findings,
    );
    this.#body.append(head, element('section', { class: 'card', 'aria-label': 'Settings' }, bar, this.#rows), json);
    panel.append(this.#choose, this.#body);
    this.#show();
  }

  setForms(object: string, forms: readonly SettingForm[]): void {
    this.#object = object;
    const heads = ['Property', 'Desired', 'Reported', 'State'].map((text) =>
      element('span', { role: 'columnheader' }, text),
    );
    const rows = forms.map((form) => this.#row(form));
    this.#forms = new Map(rows.map((row) => [row.form.name, row]));
    this.#rows.replaceChildren(
      element('div', { role: 'row', class: 'head' }, ...heads),
      ...rows.map(({ node }) => node),
    );
    this.#show();
  }

  setModule(module: ModuleState | undefined): void {
    const isSame = module?.deviceId === this.#module?.deviceId && module?.moduleId === this.#module?.moduleId;
    this.#module = module;
    this.#choose.hidden = module !== undefined;
    this.#body.hidden = module === undefined;
    if (isSame) return;
    this.#twin = undefined;
    this.#draft = {};
    this.#sentVersion = undefined;
    this.#say('');
    void this.load();
  }

  /** Reads the twin; an edited draft stays. */
  async load(): Promise<void> {
    const module = this.#module;
    if (module === undefined) return;
    const { deviceId, moduleId } = module;
    const number = ++this.#loads;
    try {
      const twin = await call<TwinView>('GET', `/api/twin?${new URLSearchParams({ deviceId, moduleId })}`);
      if (number !== this.#loads) return;
      const isEdited = this.#isEdited();
      this.#twin = twin;
      if (!isEdited) this.#startDraft(twin);
      else if (twin.desiredVersion !== this.#base && twin.desiredVersion !== this.#announcedVersion) {
        this.#announcedVersion = twin.desiredVersion;
        const change = `The desired properties have changed at the hub, to version ${twin.desiredVersion}.`;
        this.#say(`${change} Discard your changes to see them.`, 'bad');
      }
      this.#show();
    } catch (error) {
      this.#say((error as Error).message, 'bad');
    }
  }

  #isEdited(): boolean {
    return this.#twin !== undefined && !same(this.#draft, this.#twin.desired);
  }

  #discard(): void {
    if (this.#twin !== undefined) this.#startDraft(this.#twin);
    this.#say('');
    this.#check();
    this.#show();
  }

  #startDraft({ desired, desiredVersion }: TwinView): void {
    this.#base = desiredVersion;
    this.#announcedVersion = 0;
    this.#setDraft(desired);
  }

  #setDraft(desired: Section): void {
    this.#draft = desired;
    for (const row of this.#forms.values()) {
      const text = editable(this.#valueIn(desired, row.form.name));
      if (row.control instanceof HTMLSelectElement) allow(row.control, text);
      if (row.control.value !== text && row.control !== document.activeElement) row.control.value = text;
    }
    this.#desiredText.value = pretty(desired);
    this.#desiredText.setAttribute('aria-invalid', 'false');
  }

  /** The value of a setting; anything but `{"value": …}` is returned unchanged. */
  #valueIn(section: Section, name: string): unknown {
    const member = own(own(section, this.#object), name);
    return isObject(member) && Object.hasOwn(member, 'value') ? member.value : member;
  }

  #takeControl({ form, control }: Row): void {
    const object = own(this.#draft, this.#object);
    const { [form.name]: _, ...rest } = isObject(object) ? object : {};
    const value = readText(form, control.value);
    const members = value === undefined ? rest : { ...(isObject(object) ? object : {}), [form.name]: { value } };
    this.#draft = { ...this.#draft, [this.#object]: members };
    this.#desiredText.value = pretty(this.#draft);
    this.#changed();
  }

  #takeText(): void {
    let draft: unknown;
    try {
      draft = JSON.parse(this.#desiredText.value);
    } catch (error) {
      this.#desiredText.setAttribute('aria-invalid', 'true');
      this.#say(`The text is not JSON: ${(error as Error).message}`, 'bad');
      return;
    }
    if (!isObject(draft)) {
      this.#say('The desired properties must be an object.', 'bad');
      return;
    }
    const text = this.#desiredText.value;
    this.#setDraft(draft);
    this.#desiredText.value = text;
    this.#changed();
  }

  #changed(): void {
    this.#say('');
    this.#announcedVersion = 0;
    this.#show();
    clearTimeout(this.#checkTimer);
    this.#checkTimer = setTimeout(() => this.#check(), CHECK_AFTER_MS);
  }

  #check(): void {
    const number = ++this.#checks;
    const show = (check: TwinCheck) => {
      if (number === this.#checks) this.#showCheck(check);
    };
    if (!this.#isEdited()) {
      show({ faults: [], warnings: [] });
      return;
    }
    call<TwinCheck>('POST', '/api/twin/check', { desired: this.#draft }).then(show, (error: Error) =>
      this.#say(error.message, 'bad'),
    );
  }

  #showCheck({ faults, warnings }: TwinCheck): void {
    const list = (title: string, kind: string, findings: readonly Finding[]) =>
      findings.length === 0
        ? undefined
        : element(
            'div',
            { class: `finding ${kind}` },
            element('b', {}, title),
            element(
              'ul',
              {},
              ...findings.map(({ name, message }) => element('li', {}, printable(`${name} ${message}`))),
            ),
          );
    const title = `${faults.length === 1 ? '1 fault' : `${faults.length} faults`}: the agent would apply nothing.`;
    const lists = [list(title, 'bad', faults), list('Probably not meant:', 'warn', warnings)];
    this.#findings.replaceChildren(...lists.filter((each) => each !== undefined));
    for (const { form, control, fault } of this.#forms.values()) {
      const found = faults.filter(({ name }) => name === form.name).map(({ message }) => message);
      control.setAttribute('aria-invalid', String(found.length > 0));
      fault.textContent = printable(found.join('; '));
    }
    this.#force.hidden = faults.length === 0;
    if (faults.length > 0) byId('announcement').textContent = title;
  }

  async #sendDraft(force: boolean): Promise<void> {
    if (this.#module === undefined || this.#twin === undefined) return;
    if (!this.#isEdited()) return this.#say('Nothing has changed.');
    const { deviceId, moduleId } = this.#module;
    const version = this.#base;
    try {
      const check = await call<TwinCheck>('PUT', '/api/twin', {
        deviceId,
        moduleId,
        desired: this.#draft,
        version,
        force,
      });
      this.#sentVersion = version + 1;
      this.#base = version + 1;
      this.#twin = { ...this.#twin, desired: this.#draft, desiredVersion: version + 1 };
      this.#showCheck({ faults: [], warnings: check.warnings });
      this.#say(`Sent as version ${version + 1}; waiting for the agent.`);
      await this.load();
    } catch (error) {
      if (error instanceof ApiError && error.check !== undefined) this.#showCheck(error.check);
      this.#say((error as Error).message, 'bad');
    }
  }

  /** Shows the agent's verdict on the version that was sent. */
  #showVerdict(): void {
    const configuration = own(own(this.#twin?.reported, 'securityAgent'), 'configuration');
    const version = own(configuration, 'desiredVersion');
    if (this.#sentVersion === undefined || typeof version !== 'number' || version < this.#sentVersion) return;
    const errors = own(configuration, 'errors');
    const refused = isObject(errors) ? Object.entries(errors) : [];
    const errorList = refused.map(([name, message]) => printable(`${name} ${textOf(message)}`)).join('; ');
    if (refused.length > 0) this.#say(`The agent rejects version ${version}: ${errorList}`, 'bad');
    else this.#say(`The agent has applied version ${version}.`, 'good');
    this.#sentVersion = undefined;
  }

  #say(text: string, kind = ''): void {
    this.#status.textContent = text;
    this.#status.className = `answer ${kind}`;
  }

  #show(): void {
    const twin = this.#twin;
    const isEdited = this.#isEdited();
    this.#send.disabled = !isEdited;
    this.#revert.disabled = !isEdited;
    if (!isEdited) this.#force.hidden = true;
    this.#versions.textContent =
      twin === undefined ? '' : `Version ${twin.desiredVersion} desired, version ${twin.reportedVersion} reported`;
    let different = 0;
    for (const row of this.#forms.values()) if (this.#showRow(row)) different += 1;
    this.#reportedText.textContent = pretty(twin?.reported ?? {});
    setBadge('twin-mark', different === 0 ? '' : String(different), ' desired properties differ from reported ones');
    this.#showVerdict();
    this.#filter();
  }

  /** @returns whether the reported value differs from the desired one at the hub */
  #showRow({ form: { name, fallback }, reported, marks, node }: Row): boolean {
    const desired = this.#valueIn(this.#twin?.desired ?? {}, name);
    const mirrored = this.#valueIn(this.#twin?.reported ?? {}, name);
    const isChanged = !same(this.#valueIn(this.#draft, name), desired);
    const isDifferent = desired !== undefined && !same(desired, mirrored);
    const isDefault = desired === undefined && mirrored !== undefined && same(mirrored, fallback);
    reported.textContent = mirrored === undefined ? 'not reported' : textOf(mirrored) || '(empty)';
    reported.classList.toggle('weak', mirrored === undefined || isDefault);
    marks.replaceChildren(
      ...(isChanged ? [element('span', { class: 'mark changed' }, 'not sent')] : []),
      ...(isDifferent ? [element('span', { class: 'mark different' }, 'differs')] : []),
      ...(isDefault ? [element('span', { class: 'weak' }, 'default')] : []),
    );
    node.dataset.relevant = String(isChanged || isDifferent || desired !== undefined);
    node.classList.toggle('is-different', isDifferent);
    return isDifferent;
  }

  #filter(): void {
    const words = this.#search.value
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== '');
    for (const { form, node } of this.#forms.values()) {
      const text = `${form.name} ${form.about}`.toLowerCase();
      node.hidden =
        !words.every((word) => text.includes(word)) || (this.#only.checked && node.dataset.relevant !== 'true');
    }
  }

  #row(form: SettingForm): Row {
    const { name, about, range, fallback } = form;
    const control = controlFor(form, fallback === undefined ? 'not set' : `default: ${textOf(fallback) || '(empty)'}`);
    const label = element('b', { id: freshId('setting') }, name);
    const note = element('small', { class: 'weak', id: freshId('setting-about') }, `${about} ${capital(range)}.`);
    const fault = element('small', { class: 'bad', id: freshId('setting-fault') });
    control.setAttribute('aria-labelledby', label.id);
    control.setAttribute('aria-describedby', `${note.id} ${fault.id}`);
    const reported = element('bdi', {});
    const marks = element('span', { class: 'marks', role: 'cell' });
    const node = element(
      'div',
      { role: 'row', class: 'setting' },
      element('div', { role: 'rowheader' }, label, note),
      element('div', { role: 'cell', class: 'desired' }, control, fault),
      element(
        'div',
        { role: 'cell', class: 'reported' },
        element('span', { class: 'caption', 'aria-hidden': 'true' }, 'Reported'),
        reported,
      ),
      marks,
    );
    const row: Row = { form, node, control, reported, marks, fault };
    control.addEventListener('input', () => this.#takeControl(row));
    return row;
  }
}
