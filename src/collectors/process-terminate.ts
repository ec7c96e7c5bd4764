import * as v from 'valibot';
import { triggered } from '../contract/collector.ts';
import type { ProcessEnded } from '../contract/sources.ts';
import { extraDetails, integer, text } from './fields.ts';

/** A process has ended: the whole of it, not one of its threads. */
export const processTerminate = triggered({
  name: 'ProcessTerminate',
  type: 'Security',
  priority: 'Low',
  version: '1.0',
  summary: 'A process ended that had executed a program, and how.',
  source: "the kernel's process connector, see linux/cn_proc.h; the program is known from its start",

  payload: v.strictObject({
    Executable: text('Full path of the program it ran last; "unknown" when nobody saw it start.'),
    ProcessId: integer('Process id; 0 when the element stands for several.'),
    ExitStatus: integer('What it gave to exit(2), 0 to 255; 128 and the number of the signal when one ended it.'),
    ExtraDetails: extraDetails('Signal: the name of the signal that ended it, such as SIGKILL.'),
  }),

  stream: 'exits',
  translate,

  aggregate: {
    by: ['Executable', 'ExitStatus'],
    blank: { ProcessId: 0 },
  },
});

function translate({ executable = 'unknown', pid, exitStatus, signal }: ProcessEnded) {
  const payload = { Executable: executable, ProcessId: pid, ExitStatus: exitStatus };
  return signal === undefined ? payload : { ...payload, ExtraDetails: { Signal: signal } };
}
