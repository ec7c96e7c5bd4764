import { seconds } from '../../core/base/duration.ts';
import { QUEUES, type QueueName } from '../../core/contract/event.ts';
import type { LocalStatus } from '../status/schema.ts';

/** Messages that are due within this time are shown as sent "now". */
const NOW = seconds(1);

/** Where messages go, by `messageRouting`. */
export const ROUTES: Readonly<Record<NonNullable<LocalStatus['routing']>, string>> = {
  telemetry: "your own routes (messageType = 'SecurityEvents')",
  security: "Microsoft's security service only, not your own routes (messageRouting)",
  both: "your own routes (messageType = 'SecurityEvents') and Microsoft's security service",
};

/**
 * The first line of the status: whether the agent sends messages, and if not, why; when the next ones are due, and
 * where they go; when the hub accepted the last one.
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

function isSending({ state, hub, pause, delivery, store, memory }: LocalStatus): string {
  if (state === 'stopping') return 'STOPPING: sends queued events, then exits';
  if (hub.state !== 'connected') {
    const why = hub.error ?? (hub.state === 'connecting' ? 'connecting to the hub' : hub.state);
    return `NOT SENDING: ${inOneLine(why)}`;
  }
  const { held, overShare } = delivery;
  const isAllHeld = held !== undefined && QUEUES.every((queue) => isHeld(queue, delivery));
  const states = [
    ...(pause === undefined ? [] : [`PAUSED until ${pause.until}: Security events are not collected`]),
    // A success clears lastError. While all queues are held, nothing is sent, and an old error is not the cause.
    ...(hasFailed(delivery) && !isAllHeld
      ? [`NOT ACCEPTED: ${inOneLine(delivery.lastError ?? 'the hub does not answer')}`]
      : []),
    ...(held === undefined ? [] : [`HELD (${held.queues}): ${inOneLine(held.reason)}`]),
    ...(memory.isOver ? ['DROPPING LOW EVENTS: the agent uses more memory than memoryBudgetInMegabytes'] : []),
    ...(overShare === undefined
      ? []
      : [`HELD (Low events of ${overShare}): the share of the message units is used up`]),
  ];
  return `${states.join('; ') || 'SENDING'}${store.isNearlyFull ? ', but the queues are nearly full' : ''}`;
}

/** Whether an attempt failed since the hub last accepted a message, or since the start. */
const hasFailed = ({ messagesSent, messagesFailed, lastError }: LocalStatus['delivery']): boolean =>
  lastError !== undefined || (messagesSent === 0 && messagesFailed > 0);

const isHeld = (queue: QueueName, { held }: LocalStatus['delivery']): boolean =>
  held?.queues.split(', ').includes(queue) === true;

const inOneLine = (text: string): string => text.replace(/\p{Cc}+/gu, ' ').replace(/[.;]$/, '');

function nextMessages({ next, delivery }: LocalStatus, now: Date): string {
  const { queued, held } = delivery;
  const waiting = `${queued.highEvents} High and ${queued.lowEvents} Low events wait`;
  if (next === undefined) return waiting;
  const when = (time: string, events: number, queue: QueueName) => {
    if (held !== undefined && isHeld(queue, delivery)) return `held until ${inSeconds(held.until)}`;
    const isNow = Date.parse(time) - now.getTime() < NOW;
    return isNow && events > 0 ? 'now' : `at ${inSeconds(time)}`;
  };
  const at = (time: string, events: number, queue: QueueName) =>
    `${queue} ${when(time, events, queue)} (${events} ${events === 1 ? 'event waits' : 'events wait'})`;
  return `next messages: ${at(next.highAt, queued.highEvents, 'High')}, ${at(next.lowAt, queued.lowEvents, 'Low')}`;
}

const inSeconds = (time: string): string => time.replace(/\.\d+/, '');
