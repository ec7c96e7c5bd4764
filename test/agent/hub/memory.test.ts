import '../../../src/agent/hub/memory.ts';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const here = createRequire(import.meta.url);

describe('hub/memory', () => {
  it('cures the very mqtt-packet that MQTT.js uses', () => {
    const ofMqtt = createRequire(here.resolve('mqtt')).resolve('mqtt-packet');
    assert.equal(here.resolve('mqtt-packet'), ofMqtt);
    const base = createRequire(here.resolve('azure-iot-mqtt-base'));
    assert.equal(base.resolve('mqtt'), here.resolve('mqtt'));
    assert.equal(here(ofMqtt).writeToStream.cacheNumbers, false);
  });

  // In a process of its own: it measures one, and what it imports must be loaded in this order.
  const run = (script: string) =>
    execFileSync(process.execPath, ['--expose-gc', '--input-type=module', '--eval', script], {
      encoding: 'utf8',
      env: { ...process.env, DEBUG: '*' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const memory = new URL('../../../src/agent/hub/memory.js', import.meta.url);
  const packet = fileURLToPath(new URL(`file://${here.resolve('mqtt-packet')}`));

  it('keeps messages of many lengths from pinning memory', () => {
    const pinned = Number(
      run(`
        await import('${memory}');
        const { default: mqttPacket } = await import('${packet}');
        const sink = { write: () => true, cork() {}, uncork() {} };
        for (let length = 1; length <= 8_000; length++) {
          const packet = { cmd: 'publish', topic: 't', payload: 'x'.repeat(length), qos: 1, messageId: length };
          mqttPacket.writeToStream(packet, sink);
          Buffer.from('something else that is cut from the pool '.repeat(8));
        }
        gc();
        console.log(process.memoryUsage().arrayBuffers);
      `),
    );
    assert.ok(pinned < 1_000_000, `${pinned} bytes are pinned`);
  });

  it('switches the debug lines off, which would print tokens', () => {
    const enabled = run(`
      await import('${memory}');
      const { createRequire } = await import('node:module');
      const debug = createRequire('${packet}')('debug');
      console.log(process.env.DEBUG, debug.enabled('mqtt-packet:writeToStream'));
    `);
    assert.equal(enabled.trim(), 'undefined false');
  });
});
