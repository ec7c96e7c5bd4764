import { BackgroundWriter } from '../base/background-writer.ts';
import { type Duration, hours, milliseconds, seconds } from '../base/duration.ts';
import { endOfWriting } from '../base/end-of-writing.ts';
import type { Service } from '../base/service.ts';
import { BackgroundStateFiles } from '../base/state-files.ts';
import { BackgroundFiles } from '../pipeline/background-files.ts';
import type { Foundation } from './foundation.ts';

/**
 * What may wait in memory for a disk that is slow, and again for one that refuses: of the memory budget such a part
 * each, 8 MiB of 96.
 */
const PARTS_OF_MEMORY = 12;

/** Up to this `store.syncEvery`, all that can survive a kill is written at once. */
const LASTS_SOON = seconds(1);
/** Otherwise what is worth little waits for the next message, and no longer than this. */
const WITH_THE_NEXT_MESSAGE = hours(6);

/** How long notes, and changes of state that can be made later, may wait in memory. */
export const spared = (syncEvery: Duration) =>
  syncEvery > LASTS_SOON
    ? { notesEvery: syncEvery, laterAfter: WITH_THE_NEXT_MESSAGE }
    : { notesEvery: milliseconds(0), laterAfter: milliseconds(0) };

/** How the agent writes to its state directory: in the background, so that a hung disk blocks nothing else. */
export interface Storage {
  readonly writer: BackgroundWriter;
  /** The small files of state. */
  readonly stateFiles: BackgroundStateFiles;
  /** The files of queues and aggregates. */
  readonly storeFiles: BackgroundFiles;
  /** What may be kept in memory while the disk refuses, in bytes. */
  readonly memoryBytes: number;
  /** How long what is written must be made to last at the latest, High events apart. */
  readonly syncEvery: Duration;
  /** Must be stopped after all parts that write. */
  readonly end: Service;
}

export function createStorage({ local, clock, options: { log, abandoned } }: Foundation): Storage {
  const memoryBytes = (local.memoryBudgetInMegabytes * 1024 * 1024) / PARTS_OF_MEMORY;
  const { syncEvery } = local.store;
  const { notesEvery, laterAfter } = spared(syncEvery);
  const writer = new BackgroundWriter({ clock, maxBytes: memoryBytes, notesEvery });
  const stateFiles = new BackgroundStateFiles({ clock, lane: writer.syncs, laterAfter });
  const storeFiles = new BackgroundFiles(writer);
  const end = endOfWriting({ writer, stateFiles, clock, log, ...(abandoned === undefined ? {} : { abandoned }) });
  return { writer, stateFiles, storeFiles, memoryBytes, syncEvery, end };
}
