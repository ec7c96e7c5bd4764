import { randomUUID } from 'node:crypto';
import { randomPart } from '../../core/base/backoff.ts';
import type { HubClient } from '../../core/contract/hub.ts';
import type { Marking } from '../../core/contract/message.ts';
import type { SettingsReader } from '../../core/contract/settings.ts';
import { collectors } from '../collectors/index.ts';
import { AccountCopy } from '../pipeline/account-copy.ts';
import { Aggregator } from '../pipeline/aggregator.ts';
import { MessageBudget } from '../pipeline/message-budget.ts';
import { MessageChain } from '../pipeline/message-chain.ts';
import { Publisher } from '../pipeline/publisher.ts';
import { EventQueues } from '../pipeline/queue.ts';
import { Statistics } from '../pipeline/statistics.ts';
import { UnsetClock } from '../pipeline/unset-clock.ts';
import { Notifier } from '../state/notifier.ts';
import type { StateFile } from '../state/read-state.ts';
import type { Foundation } from './foundation.ts';
import type { Storage } from './storage.ts';

/** The way of an event from its collector to the hub: counted, queued, packed and sent. */
export interface DeliveryParts {
  readonly queues: EventQueues;
  readonly unsetClock: UnsetClock;
  /** The queues, with events that are held as long as the clock is not set. */
  readonly timed: ReturnType<UnsetClock['around']>;
  readonly budget: MessageBudget;
  /** The chains of messages, by their marking. */
  readonly chains: Readonly<Record<Marking, MessageChain>>;
  readonly publisher: Publisher;
  readonly statistics: Statistics;
  readonly aggregator: Aggregator;
  readonly accountCopy: AccountCopy;
}

export function createDelivery(
  { local, state, sender, bootId, clock, watched, logOf, stateChanged }: Foundation,
  {
    settings,
    hub,
    storage: { writer, stateFiles, storeFiles, memoryBytes, syncEvery },
  }: { settings: SettingsReader; hub: HubClient; storage: Storage },
): DeliveryParts {
  const messageCounted = new Notifier();
  const queues = new EventQueues({
    directory: state('queues'),
    settings,
    ageLimit: local.queueAgeLimit,
    clock: watched('queues'),
    log: logOf('queues'),
    files: storeFiles,
    memoryBytes,
    syncEvery,
    changed: () => {
      writer.releaseNotes();
      stateChanged.notify();
    },
    counted: () => accountCopy.changed(),
  });
  const unsetClock = new UnsetClock({ clock, log: logOf('clock'), bootId: bootId ?? randomUUID() });
  const timed = unsetClock.around(queues);
  const budget = new MessageBudget({
    file: state('message-units.json'),
    unitsPerDay: local.limits.messageUnitsPerDay,
    clock,
    log: logOf('budget'),
    files: stateFiles,
    changed: stateChanged.notify,
  });
  const chainIn = (file: StateFile) =>
    new MessageChain({ file: state(file), clock, log: logOf('messages'), files: stateFiles });
  const chains = { telemetry: chainIn('message-chain.json'), security: chainIn('marked-message-chain.json') };
  const publisher = new Publisher({
    chains,
    budget,
    queues: timed,
    hub,
    settings,
    sender,
    routing: local.messageRouting,
    extensions: new Set(collectors.filter(({ extension }) => extension).map(({ name }) => name)),
    clock: watched('publisher'),
    log: logOf('publisher'),
    firstPeriod: randomPart(),
    noted: messageCounted.notify,
  });
  const statistics = new Statistics({
    file: state('statistics.json'),
    totals: (queue) => queues.account(queue).totals,
    sent: () => publisher.sent(),
    log: logOf('statistics'),
    files: stateFiles,
  });
  messageCounted.on(() => statistics.save());
  const aggregator = new Aggregator({
    directory: state('aggregates'),
    settings,
    queues: timed,
    clock: watched('aggregator'),
    log: logOf('aggregator'),
    files: storeFiles,
    syncEvery,
    saved: () => accountCopy.changed(),
  });
  const accountCopy = new AccountCopy({
    note: AccountCopy.noteIn(state('accounts.json'), writer),
    queues,
    aggregator,
    log: logOf('queues'),
  });
  writer.holdsNotes = () => queues.isInMemory;
  return { queues, unsetClock, timed, budget, chains, publisher, statistics, aggregator, accountCopy };
}
