import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { systemClock } from '../../src/core/base/clock.ts';
import { table } from '../../src/core/command-line/command.ts';

/* Prints the properties of the machine on which figures depend. */

const processors = cpus();
const system = readFileSync('/etc/os-release', 'utf8').match(/^PRETTY_NAME="?([^"\n]+)/m)?.[1] ?? 'unknown';
const rows = [
  ['processor', processors[0]?.model ?? 'unknown'],
  ['cores', String(processors.length)],
  ['memory', `${(totalmem() / 2 ** 30).toFixed(1)} GiB`],
  ['kernel', `${release()} ${process.arch}`],
  ['system', system],
  ['Node', process.version],
  ['date', systemClock.now().toISOString()],
  [
    'load average',
    `${loadavg()
      .map((load) => load.toFixed(2))
      .join(' ')} (CPU and times are only as quiet as this)`,
  ],
];
for (const line of table(rows)) console.log(line);
