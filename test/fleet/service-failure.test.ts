import assert from 'node:assert/strict';
import { AgentError } from '../../src/core/base/errors.ts';
import { failureOf, ServiceFailure } from '../../src/fleet/service-failure.ts';

describe('What an answer of the service API means', () => {
  const refused = (Message: string) =>
    failureOf({ response: { statusCode: 403 }, responseBody: JSON.stringify({ Message }) });

  for (const message of [
    'ErrorCode:IotHubQuotaExceeded;Total number of messages exceeded the allocated quota.',
    '{"errorCode":403002,"message":"Total number of messages exceeded the allocated quota."}',
    'Total number of messages exceeded the allocated quota.',
  ]) {
    it(`takes ${message} for a quota that is used up`, () => {
      const failure = refused(message);
      assert.ok(failure instanceof AgentError);
      assert.equal(failure.id, 'HUB_QUOTA_EXCEEDED');
    });
  }

  it('reports a hub of the basic tier', () => {
    const failure = refused('ErrorCode:OperationNotAvailableInCurrentTier;The operation is not available.');
    assert.ok(failure instanceof AgentError);
    assert.equal(failure.id, 'HUB_TIER_UNSUPPORTED');
    assert.match(failure.message, /the hub is of the basic tier/);
  });

  it('does not mistake a name containing "quota" for an exceeded quota', () => {
    for (const message of [
      'ErrorCode:DeviceDisabled;The device quota-403002 is disabled.',
      '{"errorCode":403012,"message":"The device quota-403002 is disabled."}',
    ]) {
      const failure = refused(message);
      assert.ok(failure instanceof ServiceFailure, message);
      assert.equal(failure.kind, 'refused');
    }
  });
});
