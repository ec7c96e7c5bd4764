import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { AgentError, EXIT_STATUS, errnoOf, FAILURES, messageOf, toAgentError } from '../../../src/core/base/errors.ts';

describe('FAILURES', () => {
  it('has a row for each in the table "Error codes" of src/core/base/README.md, and none too many', () => {
    const [, section = ''] = readFileSync('src/core/base/README.md', 'utf8').split(/^#+ Error codes *$/m);
    const [table = ''] = section.split(/^#+ /m);
    const rows = [...table.matchAll(/^\| *`([A-Z_0-9]+)` *\|/gm)].map(([, id]) => id);
    assert.deepEqual(rows.toSorted(), Object.keys(FAILURES).toSorted());
  });
});

describe('AgentError', () => {
  const cause = new Error('why');
  const error = new AgentError('SECRET_FILE_EXPOSED', '/key can be read by others', 'Run chmod 600 /key.', { cause });

  it('knows its code, reason, remedy and cause', () => {
    assert.deepEqual([error.code, error.reason], ['Authentication', 'File Permissions']);
    assert.equal(error.remedy, 'Run chmod 600 /key.');
    assert.equal(error.cause, cause);
    assert.equal(error.exitStatus, 77);
  });

  it('says the line that runbooks search for', () => {
    assert.equal(
      error.line,
      'vakt encountered an error! Error in: Authentication, reason: File Permissions, extra details: /key can be read by others',
    );
  });

  it('exits as the contract says', () => {
    assert.deepEqual(EXIT_STATUS, {
      'Local Configuration': 78,
      Authentication: 77,
      'Remote Configuration': 76,
      Other: 70,
    });
  });
});

describe('toAgentError', () => {
  it('leaves an AgentError as it is', () => {
    const error = new AgentError('HUB_SILENT', 'no answer', 'Wait.');
    assert.equal(toAgentError(error), error);
  });

  it('takes everything else for a defect of ours, and keeps it', () => {
    for (const thrown of [new TypeError('x is undefined'), 'text', undefined, null, 7]) {
      const error = toAgentError(thrown);
      assert.equal(error.id, 'INTERNAL');
      assert.equal(error.message, messageOf(thrown));
      assert.equal(error.cause, thrown);
    }
  });
});

describe('errnoOf', () => {
  it('names the failed call', () => assert.equal(errnoOf(Object.assign(new Error(), { code: 'ENOENT' })), 'ENOENT'));
  it('is undefined for anything else', () => {
    for (const thrown of [new Error('x'), undefined, null, 'ENOENT', { code: 7 }])
      assert.equal(errnoOf(thrown), undefined);
  });
});
