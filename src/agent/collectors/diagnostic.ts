import * as v from 'valibot';
import { triggered } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import { details, extraDetails, integer, oneOf, text } from './fields.ts';

const SEVERITY = {
  fatal: 'Fatal',
  error: 'Error',
  warn: 'Warning',
  info: 'Information',
  debug: 'Debug',
  trace: 'Debug',
} as const;

/** A line of the agent's own log. */
export const diagnostic = triggered({
  ...EVENTS.Diagnostic,
  version: '1.0',
  summary:
    "A line of the agent's log at or above the local setting logging.diagnosticEventLevel; and each change of the configuration, at any level and priority.",
  source: "the agent's log",

  payload: v.strictObject({
    Severity: oneOf(['Fatal', 'Error', 'Warning', 'Information', 'Debug'], 'Severity of the log line.'),
    Message: text('What happened.'),
    ProcessId: integer("The agent's process id."),
    ThreadId: integer('Always 0, the main thread.'),
    ExtraDetails: extraDetails(
      "ErrorId: the error's stable id. Remedy: what to do about it. For a changed configuration: Names, Changes, DesiredVersion, Count.",
    ),
  }),

  stream: 'log',
  translate: ({ level, message, id, remedy, details: rest }) => ({
    Severity: SEVERITY[level],
    Message: message,
    ProcessId: process.pid,
    ThreadId: 0,
    ...details({ ErrorId: id, Remedy: remedy, ...rest }),
  }),
});
