import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testRules } from '../../../src/agent/commands/rules/test.ts';
import type { World } from '../../../src/core/command-line/command.ts';
import type { CasesFile } from './unseen-cases.ts';

export interface Answer {
  readonly case?: string;
  /** The number of a benign event. */
  readonly benign?: number;
  readonly alerts: readonly {
    readonly alert: string;
    readonly level: string;
    readonly rule: string;
    readonly during?: string;
  }[];
}

/** What `vakt rules test` answers for the cases, with the shipped rules unless files are named. */
export async function answersTo(cases: CasesFile, ruleFiles: readonly string[] = []): Promise<readonly Answer[]> {
  const folder = mkdtempSync(join(tmpdir(), 'vakt-cases-'));
  try {
    const file = join(folder, 'cases.json');
    writeFileSync(file, JSON.stringify(cases));
    const lines: string[] = [];
    const faults: string[] = [];
    const world = {
      stdout: (line: string) => lines.push(line),
      stderr: (line: string) => faults.push(line),
      signal: new AbortController().signal,
    } as unknown as World;
    await testRules({ ruleFiles, cases: file, json: true }, world);
    if (faults.length > 0) throw new Error(faults.join('\n'));
    return lines
      .join('\n')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Answer);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
