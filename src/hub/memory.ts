import './no-debug.ts';
import mqttPacket from 'mqtt-packet';

/*
 * Imported first of everything by main.ts: what must hold before the SDK loads, or makes its first packet.
 *
 * Two cures for mqtt-packet 6.10.0, which keeps, for ever, (1) one Buffer for each number up to 65,535 (its issues #28
 * and #139; 17 MB), and (2) one 4-byte Buffer for each distinct packet length, each of which pins the 8 KiB pool it was
 * cut from (its issue #163; 66 MB after 8,000 lengths). Messages of an agent like this one come in all lengths.
 */
mqttPacket.writeToStream.cacheNumbers = false;
Buffer.poolSize = 0;
