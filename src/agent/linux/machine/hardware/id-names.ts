/**
 * Looks up a name in pci.ids or usb.ids, which map numbers to names:
 * ```
 * 8086  Intel Corporation
 * 	15d7  Ethernet Connection (4) I219-LM
 * 		1028 07a7  Latitude 7480
 * ```
 * See https://pci-ids.ucw.cz and http://www.linux-usb.org/usb-ids.html. The file is searched as bytes: as text, it would
 * take several times its 1.5 MB.
 *
 * @returns the names of the vendor and the device; `undefined` when the device is not listed
 */
export function idName(ids: Buffer, vendorId: string, productId: string): string | undefined {
  const vendor = entry(ids, `\n${vendorId}  `, 0, ids.length);
  if (vendor === undefined) return undefined;
  const device = entry(ids, `\n\t${productId}  `, vendor.end, endOfVendor(ids, vendor.end));
  return device === undefined ? undefined : `${vendor.name} ${device.name}`;
}

function entry(ids: Buffer, key: string, from: number, to: number): { name: string; end: number } | undefined {
  const at = ids.subarray(0, to).indexOf(key, from);
  if (at === -1) return undefined;
  const start = at + Buffer.byteLength(key);
  const end = endOfLine(ids, start);
  return { name: ids.toString('utf8', start, end), end };
}

const [TAB, NEWLINE, HASH] = [...'\t\n#'].map((character) => character.charCodeAt(0));

/** A vendor's devices are indented; there may be comments and empty lines between them. */
function endOfVendor(ids: Buffer, from: number): number {
  let at = from;
  while (at < ids.length && (ids[at + 1] === TAB || ids[at + 1] === HASH || ids[at + 1] === NEWLINE)) {
    at = endOfLine(ids, at + 1);
  }
  return at;
}

function endOfLine(ids: Buffer, from: number): number {
  const newline = ids.indexOf('\n', from);
  return newline === -1 ? ids.length : newline;
}
