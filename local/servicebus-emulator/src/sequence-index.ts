/**
 * Sequence numbers in order, to browse from any of them. Numbers arrive nearly always at the end; removal leaves a gap
 * that `isAlive` recognises, and gaps are swept out when they are the majority.
 */
export class SequenceIndex {
  private numbers: number[] = [];
  private gaps = 0;
  private readonly isAlive: (sequenceNumber: number) => boolean;

  constructor(isAlive: (sequenceNumber: number) => boolean) {
    this.isAlive = isAlive;
  }

  add(sequenceNumber: number): void {
    const last = this.numbers.at(-1);
    if (last === undefined || last < sequenceNumber) {
      this.numbers.push(sequenceNumber);
      return;
    }
    const position = this.firstFrom(sequenceNumber);
    if (this.numbers[position] === sequenceNumber) this.gaps -= 1;
    else this.numbers.splice(position, 0, sequenceNumber);
  }

  /** To be told after the number is no longer alive. */
  removed(): void {
    this.gaps += 1;
    if (this.gaps > 64 && this.gaps * 2 > this.numbers.length) {
      this.numbers = this.numbers.filter(this.isAlive);
      this.gaps = 0;
    }
  }

  *from(sequenceNumber: number): Generator<number> {
    for (let position = this.firstFrom(sequenceNumber); position < this.numbers.length; position += 1) {
      const next = this.numbers[position] as number;
      if (this.isAlive(next)) yield next;
    }
  }

  private firstFrom(sequenceNumber: number): number {
    let low = 0;
    let high = this.numbers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.numbers[middle] as number) < sequenceNumber) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
