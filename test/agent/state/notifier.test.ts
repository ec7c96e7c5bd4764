import assert from 'node:assert/strict';
import { Notifier } from '../../../src/agent/state/notifier.ts';

describe('Notifier', () => {
  it('calls all listeners in their order', () => {
    const told: string[] = [];
    const { notify, ...notifier } = new Notifier<string>();
    assert.deepEqual(Object.keys(notifier), []);
    const changed = new Notifier<string>();
    changed.notify('early');
    changed.on((what) => told.push(`first ${what}`));
    changed.on((what) => told.push(`second ${what}`));
    const { notify: handedOver } = changed;
    handedOver('late');
    notify('to nobody');
    assert.deepEqual(told, ['first late', 'second late']);
  });
});
