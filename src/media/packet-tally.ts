// What the packets of one track tell: how many frames they become, and how long they last. Pure.

/** One packet as ffprobe lists it; times in seconds. */
export interface Packet {
  readonly pts: number | undefined;
  readonly dts: number | undefined;
  readonly duration: number | undefined;
  readonly isKey: boolean;
  readonly bytes?: number | undefined;
  /** an edit list hides it: it is decoded and never shown */
  readonly isHidden: boolean;
  /** it is of no use without a key */
  readonly isEncrypted?: boolean | undefined;
}

/** ffmpeg takes a longer gap for a break in the clock, in containers whose clock may break. */
const LONGEST_GAP_SECONDS = 10;

/** Times kept of every track: enough to tell how evenly they are spread. */
const MOST_SPREAD = 1024;

/** Counts packets in the order of the file. Unless it keeps their times, it keeps some numbers however many come. */
export class PacketTally {
  #shown = 0;
  /** packets that are shown at the time of the one before */
  #twins = 0;
  /** video packets that cannot be decoded: the picture that they need is before the start of the file */
  #orphans = 0;
  #beforeKey = 0;
  #keyPts: number | undefined;
  #start: 'before key' | 'leading' | 'over' = 'before key';
  #last: Packet | undefined;
  #clock = 0;
  #breaks = 0;
  #isContinuous = true;
  #durations = 0;
  #undated = 0;
  #first = Infinity;
  #latest = -Infinity;
  /** every #stride-th time */
  #spread: number[] = [];
  #stride = 1;
  #timed = 0;
  /** some packets are, if not those at the beginning */
  isEncrypted = false;
  readonly #times: number[] | undefined;
  readonly #bytes: number[] = [];
  readonly #keyTimes: number[] = [];

  /** @param keepsTimes for `frameTimes`, `frameBytes` and `keyTimes` */
  constructor(keepsTimes = false) {
    this.#times = keepsTimes ? [] : undefined;
  }

  add(packet: Packet): void {
    this.isEncrypted ||= packet.isEncrypted === true;
    if (packet.isHidden) {
      // A hidden key frame is decoded: what follows can refer to it.
      if (packet.isKey && this.#start === 'before key') this.#start = 'over';
      return;
    }
    const { pts, dts, duration = 0 } = packet;
    // AVI has no other time than that of decoding.
    const time = pts ?? dts;
    this.#shown++;
    if (pts !== undefined && pts === this.#last?.pts) this.#twins++;
    else if (!this.#isOrphan(packet) && time !== undefined) {
      if (pts !== undefined) this.#keepFrame(pts, packet);
      this.#first = Math.min(this.#first, time);
      this.#latest = Math.max(this.#latest, time);
      this.#keepTime(time);
    }
    this.#advance(packet);
    this.#durations += duration;
    if (duration <= 0) this.#undated++;
    this.#last = packet;
  }

  /** packets that are shown */
  get packets(): number {
    return this.#shown;
  }

  /**
   * Frames that a decoder can make of a video track.
   * @param storesHidden the codec stores pictures that are only referred to, at the time of the next one. Where most
   *   packets look like that, they are counted.
   */
  frames(storesHidden: boolean): number {
    const hidden = storesHidden && this.#twins * 2 <= this.#shown ? this.#twins : 0;
    return this.#shown - this.orphans - hidden;
  }

  /**
   * Frames lost at the start of a video track that begins between two key frames. A container that marks its first key
   * frame after half of the packets is not believed.
   */
  get orphans(): number {
    return this.#orphans * 2 > this.#shown ? 0 : this.#orphans;
  }

  /** times of the first and the last frame, seconds; undefined: the container does not tell */
  get span(): readonly [first: number, last: number] | undefined {
    return this.#first <= this.#latest ? [this.#first, this.#latest] : undefined;
  }

  /** when the last packet ends, seconds; known where span is */
  get end(): number | undefined {
    return this.span && this.#latest + (this.#last?.duration ?? 0);
  }

  /** Its clock jumps ahead: in containers whose clock may break, that is no time. */
  get hasBreaks(): boolean {
    return this.#breaks > 0;
  }

  /** Its clock never runs backwards. */
  get isContinuous(): boolean {
    return this.#isContinuous;
  }

  /**
   * Times of the frames in display order. Undefined where they were not kept, or where the packets do not tell the time
   * of each frame.
   * @param frames as told by frames()
   */
  frameTimes(frames: number): Float64Array | undefined {
    const isTold = this.#times !== undefined && this.#times.length === frames && this.#isContinuous;
    return isTold ? Float64Array.from(this.#times).sort() : undefined;
  }

  /** Sizes of the packets of frameTimes(). @param frames as told by frames() */
  frameBytes(frames: number): Uint32Array | undefined {
    const times = this.frameTimes(frames) && this.#times;
    if (times === undefined) return undefined;
    const order = times.map((_, index) => index).sort((one, other) => (times[one] ?? 0) - (times[other] ?? 0));
    return Uint32Array.from(order, (index) => this.#bytes[index] ?? 0);
  }

  /** Times of the key frames, where frameTimes() has those of all. @param frames as told by frames() */
  keyTimes(frames: number): Float64Array | undefined {
    return this.frameTimes(frames) && Float64Array.from(this.#keyTimes).sort();
  }

  /**
   * How uneven the frames are spread over time: the largest difference between the share of the frames and the share of
   * the time up to a frame. 0: all intervals are alike; 1: nearly all frames are at one end.
   */
  get unevenness(): number {
    const times = [...this.#spread].sort((a, b) => a - b);
    const [first = 0, last = 0] = [times[0], times.at(-1)];
    if (!(last > first)) return 0;
    const off = times.map((time, index) => Math.abs(index / (times.length - 1) - (time - first) / (last - first)));
    return Math.max(...off);
  }

  /** Seconds that the packets last, each by its own word. Undefined where one does not tell. */
  get summedSeconds(): number | undefined {
    return this.#shown === 0 || this.#undated > 0 ? undefined : this.#durations;
  }

  /**
   * Seconds from the first packet to the end of the last.
   * @param clockBreaks the container's clock may jump: a long gap is no time
   */
  seconds(clockBreaks: boolean): number | undefined {
    const lasting = this.#last?.duration ?? 0;
    const gaps = clockBreaks ? this.#breaks : 0;
    if (this.#isContinuous && gaps === 0 && this.span !== undefined) return this.#latest - this.#first + lasting;
    return this.#last?.dts === undefined ? undefined : this.#clock - gaps + lasting;
  }

  /**
   * Packets before the first key frame, and pictures that follow it in the file but precede it on the screen, need a
   * picture that is not there.
   */
  #isOrphan({ isKey, pts }: Packet): boolean {
    if (this.#start === 'before key') {
      if (!isKey) {
        this.#beforeKey++;
        return false;
      }
      this.#orphans = this.#beforeKey;
      this.#times?.splice(0);
      this.#bytes.splice(0);
      this.#first = Infinity;
      this.#latest = -Infinity;
      this.#keyPts = pts;
      this.#start = 'leading';
      return false;
    }
    if (this.#start === 'over') return false;
    const leads = pts !== undefined && this.#keyPts !== undefined && pts < this.#keyPts;
    if (leads) this.#orphans++;
    else this.#start = 'over';
    return leads;
  }

  #keepFrame(pts: number, { isKey, bytes = 0 }: Packet): void {
    if (this.#times === undefined) return;
    this.#times.push(pts);
    this.#bytes.push(bytes);
    if (isKey) this.#keyTimes.push(pts);
  }

  #keepTime(time: number): void {
    if (this.#timed++ % this.#stride === 0) this.#spread.push(time);
    if (this.#spread.length < MOST_SPREAD) return;
    this.#spread = this.#spread.filter((_, index) => index % 2 === 0);
    this.#stride *= 2;
  }

  #advance({ dts }: Packet): void {
    const before = this.#last?.dts;
    if (dts === undefined || before === undefined) return;
    const step = dts - before;
    const usual = this.#last?.duration ?? 0;
    this.#clock += step < 0 ? usual : step;
    if (step < 0) this.#isContinuous = false;
    if (step > LONGEST_GAP_SECONDS) this.#breaks += step - usual;
  }
}
