import type { Clock } from '../../core/base/clock.ts';
import { seconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Service } from '../../core/base/service.ts';
import type { BackgroundWriter } from './background-writer.ts';
import type { BackgroundStateFiles } from './state-files.ts';

const LIMIT = seconds(10);
/** Files named in the log line. */
const MAX_NAMED = 10;

/**
 * Waits at shutdown until all data is written, ten seconds at most, and logs which files the disk did not accept. It
 * must be stopped after all parts that write: they only hand over their data.
 *
 * @param options.abandoned called when data was not written: a thread of this process still waits for the disk
 */
export function endOfWriting(options: {
  writer: BackgroundWriter;
  stateFiles: BackgroundStateFiles;
  clock: Clock;
  log: Logger;
  abandoned?: () => void;
}): Service {
  const { writer, stateFiles, clock, log, abandoned } = options;
  return {
    name: 'writing in the background',
    start: async () => {},
    async stop() {
      stateFiles.hurry();
      const settled = clock.within(LIMIT, 'Writing files of state', stateFiles.settled()).catch(() => {});
      await Promise.all([writer.settle(LIMIT), settled]);
      const unwritten = [...writer.unwritten(), ...stateFiles.unwritten()];
      if (unwritten.length === 0) return;
      const sizeBytes = unwritten.reduce((all, [, bytes]) => all + bytes, 0);
      const files = unwritten.slice(0, MAX_NAMED).map(([path, bytes]) => `${path} (${bytes} bytes)`);
      const others = unwritten.length - files.length;
      const figures = { sizeBytes, files, ...(others > 0 ? { otherFiles: others } : {}) };
      log.error(figures, 'The disk did not accept all data before shutdown; that data is lost.');
      abandoned?.();
    },
  };
}
