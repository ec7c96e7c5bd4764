import * as v from 'valibot';
import { triggered } from '../contract/collector.ts';
import { details, extraDetails, integer, oneOf, text } from './fields.ts';

const SEVERITY = {
  fatal: 'Fatal',
  error: 'Error',
  warn: 'Warning',
  info: 'Information',
  debug: 'Debug',
  trace: 'Debug',
} as const;

/** The agent says something about itself. */
export const diagnostic = triggered({
  name: 'Diagnostic',
  type: 'Diagnostic',
  priority: 'Low',
  version: '1.0',
  summary:
    "A line of the agent's own log, from the local level logging.diagnosticEventLevel on; and each change of the configuration, whatever that level and the priority.",
  source: "the agent's log",

  payload: v.strictObject({
    Severity: oneOf(['Fatal', 'Error', 'Warning', 'Information', 'Debug'], 'How bad it is.'),
    Message: text('What happened.'),
    ProcessId: integer("The agent's process id."),
    ThreadId: integer('0, the main thread.'),
    ExtraDetails: extraDetails(
      "ErrorId: the failure's stable id. Remedy: what to do about it. Of a changed configuration: Names, Changes, DesiredVersion, Count.",
    ),
  }),

  stream: 'log',
  translate: ({ level, message, id, remedy, details: others }) => ({
    Severity: SEVERITY[level],
    Message: message,
    ProcessId: process.pid,
    ThreadId: 0,
    ...details({ ErrorId: id, Remedy: remedy, ...others }),
  }),
});
