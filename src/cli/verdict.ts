import { seconds } from '../base/duration.ts';
import type { LocalStatus } from '../status.ts';

/** A message that was due this long ago is being sent, or has just been. */
const NOW = seconds(1);

/** Where messages go, for people; `messageRouting` decides it. */
export const ROUTES: Readonly<Record<NonNullable<LocalStatus['routing']>, string>> = {
  telemetry: "your own routes (messageType = 'SecurityEvents')",
  security: "Microsoft's security consumer only, past your own routes (messageRouting)",
  both: "your own routes and Microsoft's security consumer",
};

/**
 * The state in one line, for whoever asks why nothing arrives: whether it sends, and if not, why; when the next messages
 * go, and where to; when the hub took the last one.
 */
export function verdict(status: LocalStatus, now: Date): string {
  const { delivery, routing } = status;
  const last =
    delivery.lastSentAt === undefined ? 'none accepted since the start' : `last one accepted at ${delivery.lastSentAt}`;
  return [
    `${isSending(status)}; ${nextMessages(status, now)}`,
    ...(routing === undefined ? [] : [`they go to ${ROUTES[routing]}`]),
    last,
    ...(status.heldUp === undefined ? [] : [`the agent was ${status.heldUp.why} until ${status.heldUp.at}`]),
  ].join('; ');
}

function isSending({ state, hub, pause, delivery, store }: LocalStatus): string {
  if (state === 'stopping') return 'STOPPING: sends what it can, and ends';
  if (hub.state !== 'connected') {
    const why = hub.error ?? (hub.state === 'connecting' ? 'it connects' : hub.state);
    return `NOT SENDING: ${why.replace(/\p{Cc}+/gu, ' ').replace(/[.;]$/, '')}`;
  }
  if (pause !== undefined) return `PAUSED until ${pause.until}: Security events are not collected`;
  const word = delivery.messagesSent === 0 && delivery.messagesFailed > 0 ? 'NOT ACCEPTED' : 'SENDING';
  const error = word === 'SENDING' ? '' : `: ${delivery.lastError ?? 'the hub does not answer'}`;
  return `${word}${error}${store.isNearlyFull ? ', but the queues are nearly full' : ''}`;
}

function nextMessages({ next, delivery: { queued } }: LocalStatus, now: Date): string {
  const waiting = `${queued.highEvents} High and ${queued.lowEvents} Low events wait`;
  if (next === undefined) return waiting;
  const at = (time: string, events: number, queue: string) => {
    const isNow = Date.parse(time) - now.getTime() < NOW;
    return `${queue} ${isNow && events > 0 ? 'now' : `at ${time.replace(/\.\d+/, '')}`} (${events} ${events === 1 ? 'event waits' : 'events wait'})`;
  };
  return `next messages: ${at(next.highAt, queued.highEvents, 'High')}, ${at(next.lowAt, queued.lowEvents, 'Low')}`;
}
