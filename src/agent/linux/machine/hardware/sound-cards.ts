/**
 * Names of sound cards by number, from /proc/asound/cards; snd_card_info_read() of sound/core/init.c writes it:
 * ```
 *  0 [PCH            ]: HDA-Intel - HDA Intel PCH
 *                       HDA Intel PCH at 0xdf240000 irq 145
 * ```
 */
export function parseSoundCards(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [, index, name] = /^ ?(\d{1,3}) \[[^\]]{1,32}\]: .{0,64}? - (.+)$/.exec(line) ?? [];
    if (index !== undefined && name !== undefined && !names.has(Number(index))) names.set(Number(index), name);
  }
  return names;
}
