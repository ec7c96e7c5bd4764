import * as v from 'valibot';
import { triggered } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import type { ProcessEnded } from '../../core/contract/streams.ts';
import { extraDetails, integer, text } from './fields.ts';

/** The exit of a process. Threads that exit before their process are not reported. */
export const processTerminate = triggered({
  ...EVENTS.ProcessTerminate,
  version: '1.0',
  summary: 'A process that had executed a program ended, with its exit status.',
  source: "the kernel's process connector, see linux/cn_proc.h; the program from the start of the process",

  payload: v.strictObject({
    Executable: text(
      'Full path of the program that the process executed last; "unknown" if its start was not observed.',
    ),
    ProcessId: integer('Process id; 0 if the element aggregates several exits.'),
    ExitStatus: integer('Argument of exit(2), 0 to 255; if a signal ended the process, 128 plus the signal number.'),
    ExtraDetails: extraDetails('Signal: name of the signal that ended the process, such as SIGKILL.'),
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
