import type { Field } from '../protocol.ts';
import { element } from './dom.ts';

export type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

let lastId = 0;
/** An id that no other element has. */
export const freshId = (prefix: string): string => `${prefix}-${++lastId}`;

/** The control for one value of a field, except `names`. @param none label of an empty value */
export function controlFor({ kind, choices = [], initial = '' }: Field, none: string): Control {
  if (kind === 'flag' || kind === 'choice') {
    const names = kind === 'flag' ? ['true', 'false'] : choices;
    const options = names.map((name) => element('option', { value: name }, name));
    return element('select', {}, element('option', { value: '' }, none), ...options);
  }
  if (kind === 'json') return element('textarea', { rows: 1, placeholder: none, spellcheck: 'false' });
  const numeric = kind === 'number' ? { inputmode: 'numeric' } : {};
  return element('input', {
    type: 'text',
    value: initial,
    placeholder: none,
    autocomplete: 'off',
    spellcheck: 'false',
    ...numeric,
  });
}

/**
 * Parses a field's text. Text that is not a valid number or JSON stays text: the receiver reports the error.
 *
 * @returns `undefined` for an empty text
 */
export function readText({ kind }: Field, text: string): unknown {
  if (text.trim() === '') return undefined;
  if (kind === 'flag') return text === 'true' || (text === 'false' ? false : text);
  if (kind === 'number') return Number.isNaN(Number(text)) ? text : Number(text);
  if (kind !== 'json') return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A form of several fields. */
export class Fields {
  readonly node = element('div', { class: 'fields' });
  readonly #values: { readonly field: Field; readonly value: () => unknown; readonly control: Control | undefined }[] =
    [];

  constructor(fields: readonly Field[]) {
    for (const field of fields) this.#add(field);
  }

  /** The members that have a value; `undefined` if a required one is empty, which then gets the focus. */
  read(): Record<string, unknown> | undefined {
    for (const { field, value, control } of this.#values) {
      const isMissing = field.required && value() === undefined;
      control?.setAttribute('aria-invalid', String(isMissing));
      if (isMissing) {
        control?.focus();
        return undefined;
      }
    }
    const members = this.#values.map(({ field, value }) => [field.name, value()] as const);
    return Object.fromEntries(members.filter(([, value]) => value !== undefined));
  }

  #add(field: Field): void {
    const { name, kind, about, required, choices = [] } = field;
    const note = element('small', { class: 'weak', id: freshId('about') }, about);
    if (kind === 'names') {
      const boxes = choices.map((choice) => element('input', { type: 'checkbox', value: choice }));
      const chips = boxes.map((box) => element('label', { class: 'chip' }, box, box.value));
      this.node.append(
        element(
          'fieldset',
          { class: 'chips', 'aria-describedby': note.id },
          element('legend', {}, name),
          ...chips,
          note,
        ),
      );
      const value = () => {
        const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
        return chosen.length === 0 ? undefined : chosen;
      };
      this.#values.push({ field, value, control: undefined });
      return;
    }
    const control = controlFor(field, required ? 'required' : '');
    control.setAttribute('aria-describedby', note.id);
    if (required) control.setAttribute('aria-required', 'true');
    this.node.append(element('label', {}, element('span', {}, name), control, note));
    this.#values.push({ field, value: () => readText(field, control.value), control });
  }
}
