import assert from 'node:assert/strict';
import { configurationError } from '../../../src/agent/collectors/configuration-error.ts';
import { look, records } from './samples.ts';

describe('ConfigurationError', () => {
  it('reports the property, the error and the value in use', () => {
    assert.deepEqual(configurationError.translate(records.configuration, look), {
      ConfigurationName: 'maxMessageSizeInBytes',
      ErrorType: 'NotOptimal',
      UsedConfiguration: '5000',
      Message: 'is no multiple of 4096',
    });
  });
});
