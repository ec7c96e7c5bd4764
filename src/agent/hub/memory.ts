import '../../core/base/no-debug.ts';
import mqttPacket from 'mqtt-packet';

/*
 * main.ts imports this first: these settings must precede the loading of the SDK and its first packet.
 *
 * mqtt-packet 6.10.0 never frees (1) one Buffer for each number up to 65,535 (its issues #28 and #139; 17 MB), and (2) one
 * 4-byte Buffer for each distinct packet length below 16,384, each of which keeps the 8 KiB pool it was cut from (its issue
 * #163; 66 MB after 8,000 lengths). The agent's messages have very many different lengths. Without pools, (2) takes up to 3 MB;
 * what is shipped has no such cache (scripts/bundle.ts).
 */
mqttPacket.writeToStream.cacheNumbers = false;
Buffer.poolSize = 0;
