import { isPlainObject } from '../../../core/base/values.ts';
import type { Envelope, Payload } from '../../../core/contract/event.ts';

/** One event of a file, as the agent sends it; recorded payloads have neither an id nor a time. */
export interface GivenEvent {
  readonly name: string;
  readonly id?: string;
  /** Milliseconds since the epoch. */
  readonly time?: number;
  readonly envelope: Envelope | undefined;
  readonly payload: readonly Payload[];
}

/** The events of a line: a message, an envelope, or one payload element. `undefined` if it is none of them. */
export function eventsOf(value: unknown): readonly GivenEvent[] | undefined {
  if (!isPlainObject(value)) return undefined;
  if (Array.isArray(value.Events)) {
    const events = value.Events.map(eventsOf);
    return events.every((event) => event !== undefined) ? events.flat() : undefined;
  }
  const { Name: name, Payload: payload, Id: id, TimestampUTC: at } = value;
  if (typeof name === 'string' && Array.isArray(payload)) {
    const time = typeof at === 'string' ? Date.parse(at) : Number.NaN;
    return [
      {
        name,
        payload: payload.filter(isPlainObject),
        envelope: value as unknown as Envelope,
        ...(typeof id === 'string' ? { id } : {}),
        ...(Number.isNaN(time) ? {} : { time }),
      },
    ];
  }
  const guessed = nameOf(value);
  return guessed === undefined ? undefined : [{ name: guessed, payload: [value], envelope: undefined }];
}

/** The event that an element belongs to, by the fields that only it has. */
function nameOf(payload: Readonly<Record<string, unknown>>): string | undefined {
  if ('Direction' in payload && 'RemoteAddress' in payload) return 'ConnectionCreate';
  if ('Operation' in payload && 'Result' in payload) return 'Login';
  if ('ExitStatus' in payload) return 'ProcessTerminate';
  if ('Executable' in payload && 'CommandLine' in payload) return 'ProcessCreate';
  return undefined;
}
