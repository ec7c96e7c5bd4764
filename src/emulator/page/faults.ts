import { FAULTS, type FaultKind } from '../faults.ts';
import type { FaultKindForm, Field } from './protocol.ts';

const number = (name: string, initial: number, about: string): Field => ({
  name,
  kind: 'number',
  about,
  required: true,
  initial: String(initial),
});

/** The duration of a fault; every kind has this field. */
const DURATION: Field = {
  name: 'durationMs',
  kind: 'number',
  about: 'Duration in milliseconds; if empty, until it is switched off.',
  required: false,
};

/**
 * The most useful faults, and the fields of each kind. Other kinds have no fields of their own.
 */
const KNOWN: Partial<Readonly<Record<FaultKind, { readonly title: string; readonly fields?: readonly Field[] }>>> = {
  quotaExceeded: {
    title: "The day's quota is used up",
    fields: [{ name: 'twinSays', kind: 'flag', about: 'Answer twin requests with 403002.', required: false }],
  },
  delayAcknowledgements: {
    title: 'The hub is slow',
    fields: [number('ms', 5_000, 'Milliseconds until a message is acknowledged.')],
  },
  throttleMessages: {
    title: 'Messages are throttled',
    fields: [number('perMinute', 10, 'Messages allowed per minute.')],
  },
  ignoreMessages: { title: 'Messages are ignored' },
  dropAcknowledgements: { title: 'Acknowledgements get lost' },
  resetOnPublish: { title: 'The connection breaks at each message' },
  refuseConnections: { title: 'Connections are refused' },
  serverUnavailable: { title: 'The server is unavailable' },
  twinStatus: { title: 'Twin requests fail', fields: [number('status', 429, 'The status of the answer.')] },
  twinSilence: { title: 'Twin requests are not answered' },
  desiredSilence: { title: 'Desired changes are not notified' },
  closeOnText: {
    title: 'A string closes the connection',
    fields: [{ name: 'text', kind: 'text', about: 'The string in a message.', required: true }],
  },
  restStatus: { title: 'REST requests fail', fields: [number('status', 500, 'The status of the answer.')] },
  restDelay: { title: 'REST requests are slow', fields: [number('ms', 5_000, 'Milliseconds until an answer.')] },
};

const isKind = (name: string): name is FaultKind => Object.hasOwn(FAULTS, name);

/** A form for each kind of fault that the emulator has: the known ones first. */
export function faultForms(): readonly FaultKindForm[] {
  const kinds = [...new Set([...Object.keys(KNOWN), ...Object.keys(FAULTS)])].filter(isKind);
  return kinds.map((kind) => {
    const { title = kind, fields = [] } = KNOWN[kind] ?? {};
    return { kind, title, about: FAULTS[kind], fields: [...fields, DURATION] };
  });
}
