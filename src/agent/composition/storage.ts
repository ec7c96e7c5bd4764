import { type Duration, hours, milliseconds, minutes, seconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Service } from '../../core/base/service.ts';
import { BackgroundFiles } from '../pipeline/background-files.ts';
import { BackgroundWriter } from '../state/background-writer.ts';
import { endOfWriting } from '../state/end-of-writing.ts';
import { BackgroundStateFiles } from '../state/state-files.ts';
import { UnsavedFiles } from '../state/unsaved-files.ts';
import { WriteAhead } from '../state/write-ahead.ts';
import type { Foundation } from './foundation.ts';

/**
 * What may wait in memory for a disk that is slow, and again for one that refuses: of the memory budget such a part
 * each, 8 MiB of 96.
 */
const PARTS_OF_MEMORY = 12;

/** With a longer `store.syncEvery`, files of which a loss costs little are written with the next message. */
const LASTS_SOON = seconds(1);
/** Maximum time that they wait. */
const WITH_THE_NEXT_MESSAGE = hours(6);
/** Maximum time for which notes are held, if they survive a kill. */
const NOTES_EVERY = minutes(5);

/** How long changes of state that can be made later may wait in memory. */
export const laterAfter = (syncEvery: Duration) => (syncEvery > LASTS_SOON ? WITH_THE_NEXT_MESSAGE : milliseconds(0));

/** How the agent writes to its state directory: in the background, so that a hung disk blocks nothing else. */
export interface Storage {
  readonly writer: BackgroundWriter;
  /** The small files of state. */
  readonly stateFiles: BackgroundStateFiles;
  /** The files of queues and aggregates. */
  readonly storeFiles: BackgroundFiles;
  readonly unsaved: UnsavedFiles;
  /** What may be kept in memory while the disk refuses, in bytes. */
  readonly memoryBytes: number;
  /** How long what is written must be made to last at the latest, High events apart. */
  readonly syncEvery: Duration;
  /** Must be stopped after all parts that write. */
  readonly end: Service;
}

export function createStorage({ local, clock, stateChanged, options: { log, abandoned } }: Foundation): Storage {
  const ahead = openAhead(local.stateDirectory, log);
  const memoryBytes = (local.memoryBudgetInMegabytes * 1024 * 1024) / PARTS_OF_MEMORY;
  const { syncEvery } = local.store;
  const notesEvery = milliseconds(ahead === undefined ? 0 : Math.max(NOTES_EVERY, syncEvery));
  const unsaved = new UnsavedFiles(stateChanged.notify);
  const writer = new BackgroundWriter({ clock, maxBytes: memoryBytes, ahead, notesEvery, unsaved });
  const stateFiles = new BackgroundStateFiles({
    clock,
    lane: writer.syncs,
    laterAfter: laterAfter(syncEvery),
    unsaved,
  });
  const storeFiles = new BackgroundFiles(writer);
  const end = endOfWriting({ writer, stateFiles, clock, log, ...(abandoned === undefined ? {} : { abandoned }) });
  return { writer, stateFiles, storeFiles, unsaved, memoryBytes, syncEvery, end };
}

/** Under systemd, changes survive a kill in the runtime directory, which is in memory, until they are written and synced. */
function openAhead(stateDirectory: string, log: Logger): WriteAhead | undefined {
  const [folder] = (process.env.RUNTIME_DIRECTORY ?? '').split(':');
  const ahead = folder === undefined || folder === '' ? undefined : WriteAhead.open(folder, stateDirectory);
  const { changes, error } = ahead?.apply() ?? { changes: 0 };
  if (error !== undefined)
    log.error(
      { changes, err: error },
      'Could not write all changes of the previous run; the missing events are counted.',
    );
  else if (changes > 0) log.info({ changes }, 'Wrote the changes that the previous run had not written.');
  return ahead;
}
