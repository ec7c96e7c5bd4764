import { writeSync } from 'node:fs';
import { Hardware } from '../../src/agent/linux/machine/hardware/hardware.ts';
import { MachineQuestion } from '../../src/agent/linux/machine/machine-question.ts';
import { parseFacts, SYSTEM_FACTS } from '../../src/agent/linux/machine/system-facts.ts';
import { Reader } from '../../src/agent/reader/reader.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { messageOf } from '../../src/core/base/errors.ts';
import { createLog } from '../../src/core/base/log.ts';

/* Reads the hardware or the facts, and prints the errors as JSON. Arguments: `hardware` or `facts`, and the root of a fake sysfs. */

const [, , which = '', sys = ''] = process.argv;
const reader = new Reader({ clock: systemClock, log: createLog({ level: 'silent' }) });
const { signal } = new AbortController();
const asking = { reader, clock: systemClock };
const questions = {
  hardware: () => new Hardware({ hostRoot: '/', sys, ...asking }).devices(signal),
  facts: () =>
    new MachineQuestion({ kind: SYSTEM_FACTS, failure: 'Facts', parse: parseFacts, ...asking }).ask(
      { hostRoot: '/', sys },
      signal,
    ),
};
const wrong = await questions[which as keyof typeof questions]().then(() => 'nothing', messageOf);
writeSync(1, JSON.stringify({ wrong }));
process.exit(); // the child process never exits by itself
