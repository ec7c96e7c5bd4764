import assert from 'node:assert/strict';
import { AgentError, EXIT_STATUS, errnoOf, messageOf, toAgentError } from '../../../src/core/base/errors.ts';

describe('AgentError', () => {
  const cause = new Error('why');
  const error = new AgentError('SECRET_FILE_EXPOSED', '/key can be read by others', 'Run chmod 600 /key.', { cause });

  it('an AgentError has its code, reason, remedy, cause and exit status', () => {
    assert.deepEqual([error.code, error.reason], ['Authentication', 'File Permissions']);
    assert.equal(error.remedy, 'Run chmod 600 /key.');
    assert.equal(error.cause, cause);
    assert.equal(error.exitStatus, 77);
  });

  it('an AgentError has the line that runbooks search for', () => {
    assert.equal(
      error.line,
      'vakt encountered an error! Error in: Authentication, reason: File Permissions, extra details: /key can be read by others',
    );
  });

  it('EXIT_STATUS has the values of the contract', () => {
    assert.deepEqual(EXIT_STATUS, {
      'Local Configuration': 78,
      Authentication: 77,
      'Remote Configuration': 76,
      Other: 70,
    });
  });
});

describe('toAgentError', () => {
  it('toAgentError returns an AgentError unchanged', () => {
    const error = new AgentError('HUB_SILENT', 'no answer', 'Wait.');
    assert.equal(toAgentError(error), error);
  });

  it('toAgentError wraps any other error as an internal error, with its cause', () => {
    for (const thrown of [new TypeError('x is undefined'), 'text', undefined, null, 7]) {
      const error = toAgentError(thrown);
      assert.equal(error.id, 'INTERNAL');
      assert.equal(error.message, messageOf(thrown));
      assert.equal(error.cause, thrown);
    }
  });
});

describe('errnoOf', () => {
  it('errnoOf returns the errno name of a failed system call', () =>
    assert.equal(errnoOf(Object.assign(new Error(), { code: 'ENOENT' })), 'ENOENT'));
  it('errnoOf returns undefined for any other value', () => {
    for (const thrown of [new Error('x'), undefined, null, 'ENOENT', { code: 7 }])
      assert.equal(errnoOf(thrown), undefined);
  });
});
