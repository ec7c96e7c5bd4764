import * as v from 'valibot';
import { triggered } from '../../core/contract/collector.ts';
import { EVENTS } from '../../core/contract/events.ts';
import { oneOf, text } from './fields.ts';

/** A desired property is invalid, has no effect, or conflicts with another one. */
export const configurationError = triggered({
  ...EVENTS.ConfigurationError,
  version: '1.0',
  summary: 'A desired property that is invalid, in conflict with another one, or probably not what was meant.',
  source: "the module twin's desired properties",

  payload: v.strictObject({
    ConfigurationName: text('Name of the property.'),
    ErrorType: oneOf(
      ['TypeMismatch', 'NotOptimal', 'Conflict'],
      'TypeMismatch: the value is invalid. NotOptimal: it is valid, but probably not what was meant. Conflict: it conflicts ' +
        'with another property.',
    ),
    UsedConfiguration: text('The value that is used instead, as JSON text.'),
    Message: text('Description of the problem.'),
  }),

  stream: 'configuration',
  translate: ({ name, type, used, message }) => ({
    ConfigurationName: name,
    ErrorType: type,
    UsedConfiguration: used,
    Message: message,
  }),
});
