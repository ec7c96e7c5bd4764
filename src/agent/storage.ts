import { BackgroundWriter } from '../base/background-writer.ts';
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

/** How the agent writes to its state directory: in the background, so that a hung disk blocks nothing else. */
export interface Storage {
  readonly writer: BackgroundWriter;
  /** The small files of state. */
  readonly stateFiles: BackgroundStateFiles;
  /** The files of queues and aggregates. */
  readonly storeFiles: BackgroundFiles;
  /** What may be kept in memory while the disk refuses, in bytes. */
  readonly memoryBytes: number;
  /** Must be stopped after all parts that write. */
  readonly end: Service;
}

export function createStorage({ local, clock, options: { log, abandoned } }: Foundation): Storage {
  const memoryBytes = (local.memoryBudgetInMegabytes * 1024 * 1024) / PARTS_OF_MEMORY;
  const writer = new BackgroundWriter({ clock, maxBytes: memoryBytes });
  const stateFiles = new BackgroundStateFiles({ clock, lane: writer.syncs });
  const storeFiles = new BackgroundFiles(writer);
  const end = endOfWriting({ writer, stateFiles, clock, log, ...(abandoned === undefined ? {} : { abandoned }) });
  return { writer, stateFiles, storeFiles, memoryBytes, end };
}
