import * as v from 'valibot';
import { triggered } from '../contract/collector.ts';
import { oneOf, text } from './fields.ts';

/** The module twin asks for something that can't be done to the letter. */
export const configurationError = triggered({
  name: 'ConfigurationError',
  type: 'Operational',
  priority: 'Low',
  version: '1.0',
  summary: 'A desired configuration, or a part of one, that the agent could not obey to the letter.',
  source: "the module twin's desired properties",

  payload: v.strictObject({
    ConfigurationName: text('Name of the property.'),
    ErrorType: oneOf(
      ['TypeMismatch', 'NotOptimal', 'Conflict'],
      'Not readable, readable but hardly meant so, or at odds with another property.',
    ),
    UsedConfiguration: text('The value in force instead, as JSON text.'),
    Message: text('What is wrong with it.'),
  }),

  stream: 'configuration',
  translate: ({ name, type, used, message }) => ({
    ConfigurationName: name,
    ErrorType: type,
    UsedConfiguration: used,
    Message: message,
  }),
});
