import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** A recorded start of a process during normal work. Fields have the names of ProcessCreate's payload. */
export interface BenignStart {
  readonly Executable: string;
  readonly CommandLine: string;
  readonly UserId: string;
  readonly ParentExecutable: string;
  readonly ParentCommandLine: string;
  readonly CurrentDirectory: string;
  /** The activity on the system during the recording. */
  readonly workload: string;
}

/** All recordings of `test/agent/detections/benign/`, one compressed file for each workload. */
export function benignStarts(): BenignStart[] {
  const folder = 'test/agent/detections/benign';
  return readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl.gz'))
    .sort()
    .flatMap((name) => {
      const workload = name.replace('.jsonl.gz', '');
      const lines = gunzipSync(readFileSync(join(folder, name)))
        .toString()
        .trimEnd()
        .split('\n');
      return lines.map((line): BenignStart => ({ ...JSON.parse(line), workload }));
    });
}
