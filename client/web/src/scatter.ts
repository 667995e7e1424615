// Points with WebGL 2: an orthographic camera (so that distances on the screen are those of the map), shapes as well as
// colours, and a transition between two layouts. Picking is done here, by projecting again: exact, and cheap for 100,000.
export interface Dots {
	key: string[];
	at: Float32Array; // [n, 3]
	colour: Uint8Array; // [n, 4]
	size: Float32Array; // [n] pixels
	shape: Float32Array; // [n] 0 circle, 1 square, 2 diamond, 3 triangle
}
const empty: Dots = { key: [], at: new Float32Array(), colour: new Uint8Array(), size: new Float32Array(), shape: new Float32Array() };
const MOVE_MS = 600;

const vertex = `#version 300 es
in vec3 from, to; in vec4 colour; in float size, shape;
uniform mat3 turn; uniform vec3 centre, ground; uniform vec2 scale; uniform float t, ratio, haze;
out vec4 c; out float s;
void main() {
	vec3 p = turn * (mix(from, to, t) - centre);
	gl_Position = vec4(p.xy * scale, clamp(-p.z * scale.y * 0.1, -0.99, 0.99), 1.0);
	float far = clamp(0.5 - p.z * scale.y * 0.35, 0.0, 1.0); // what lies behind fades
	gl_PointSize = size * ratio * (1.0 - 0.35 * haze * far); c = vec4(mix(colour.rgb, ground, 0.5 * haze * far), 1.0); s = shape;
}`;
const fragment = `#version 300 es
precision mediump float;
in vec4 c; in float s; out vec4 o;
uniform vec3 rim;
void main() {
	vec2 p = gl_PointCoord * 2.0 - 1.0;
	float d = s < 0.5 ? length(p) : s < 1.5 ? max(abs(p.x), abs(p.y)) * 1.15
		: s < 2.5 ? abs(p.x) + abs(p.y) : max(abs(p.x) * 1.9 - p.y, p.y + 0.25);
	if (d > 1.0) discard;
	o = vec4(d > 0.8 ? mix(c.rgb, rim, 0.5) : c.rgb, 1.0);
}`;

export class Scatter {
	cam: number[] = [0, 0, 0, 1, 0, 0];
	ground = [1, 1, 1]; // what is behind the points
	rim = [0, 0, 0]; // at their edges, so that every colour stands out from the ground
	haze = 0; // 1: depth is shown
	margin = 0.8; // of the canvas that `fit` fills
	onFrame: () => void = () => undefined;
	private gl: WebGL2RenderingContext;
	private program: WebGLProgram;
	private buffers = new Map<string, WebGLBuffer>();
	private dots: Dots = empty;
	private number = new Map<string, number>();
	private from = new Float32Array();
	private start = 0;
	private asked = false;
	glides = 0; // transitions so far

	constructor(readonly canvas: HTMLCanvasElement) {
		const gl = canvas.getContext("webgl2", { antialias: true, premultipliedAlpha: true });
		if (!gl) throw new Error("this browser has no WebGL 2, which draws the map; the list works all the same");
		this.gl = gl;
		this.program = gl.createProgram()!;
		for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
			const s = gl.createShader(kind)!;
			gl.shaderSource(s, text);
			gl.compileShader(s);
			if (!gl.getShaderParameter(s, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(s) ?? "shader");
			gl.attachShader(this.program, s);
		}
		gl.linkProgram(this.program);
		new ResizeObserver(() => this.draw()).observe(canvas);
	}

	get n(): number {
		return this.dots.key.length;
	}

	/** New points; those that were there before move from where they are. */
	set(dots: Dots): void {
		const old = this.number;
		const t = this.t();
		const from = dots.at.slice();
		dots.key.forEach((k, i) => {
			const j = old.get(k);
			for (let a = 0; j !== undefined && a < 3; a++)
				from[3 * i + a] = (1 - t) * this.from[3 * j + a]! + t * this.dots.at[3 * j + a]!;
		});
		const moved = from.some((x, i) => x !== dots.at[i]);
		this.dots = dots;
		this.number = new Map(dots.key.map((k, i) => [k, i]));
		this.from = from;
		const glide = moved && !matchMedia("(prefers-reduced-motion: reduce)").matches;
		this.start = glide ? performance.now() : -MOVE_MS;
		if (glide) this.glides++;
		for (const [name, data] of [["from", from], ["to", dots.at], ["colour", dots.colour], ["size", dots.size], ["shape", dots.shape]] as const) {
			const gl = this.gl;
			if (!this.buffers.has(name)) this.buffers.set(name, gl.createBuffer()!);
			gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.get(name)!);
			gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
		}
		this.draw();
	}

	private t(): number {
		return Math.min(1, (performance.now() - this.start) / MOVE_MS);
	}

	get moving(): boolean {
		return this.t() < 1;
	}

	private turn(): number[] {
		const [, , , , yaw = 0, pitch = 0] = this.cam;
		const [a, b, c, d] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
		return [a, 0, b, d * b, c, -d * a, -c * b, d, c * a]; // rows of Rx(pitch) Ry(yaw)
	}

	/** The corners of the box around all points. */
	bounds(): [number[], number[]] {
		const lo = [Infinity, Infinity, Infinity], hi = [-Infinity, -Infinity, -Infinity];
		for (let i = 0; i < this.n; i++)
			for (let a = 0; a < 3; a++) {
				const v = this.dots.at[3 * i + a]!;
				if (v < lo[a]!) lo[a] = v;
				if (v > hi[a]!) hi[a] = v;
			}
		return [lo, hi];
	}

	/** How near a point is to the eye: those behind are to be drawn first. */
	depth(i: number): number {
		const r = this.turn(), at = this.dots.at;
		return r[6]! * at[3 * i]! + r[7]! * at[3 * i + 1]! + r[8]! * at[3 * i + 2]!;
	}

	/** Pixels from the upper left corner of a place on the map. */
	project(x: number, y: number, z: number): [number, number] {
		const [cx = 0, cy = 0, cz = 0, k = 1] = this.cam, r = this.turn();
		const [dx, dy, dz] = [x - cx, y - cy, z - cz];
		return [
			this.canvas.clientWidth / 2 + k * (r[0]! * dx + r[1]! * dy + r[2]! * dz),
			this.canvas.clientHeight / 2 - k * (r[3]! * dx + r[4]! * dy + r[5]! * dz),
		];
	}

	/** Where point i is drawn now. */
	place(i: number): [number, number] {
		const t = this.t(), p = [0, 1, 2].map((a) => (1 - t) * this.from[3 * i + a]! + t * this.dots.at[3 * i + a]!);
		return this.project(p[0]!, p[1]!, p[2]!);
	}

	index(key: string): number {
		return this.number.get(key) ?? -1;
	}

	/** The nearest point within reach of a pixel. One loop without allocations: it runs with every move of the pointer. */
	pick(x: number, y: number): string | undefined {
		const { from, n } = this, to = this.dots.at, size = this.dots.size, t = this.t(), r = this.turn();
		const [cx = 0, cy = 0, cz = 0, k = 1] = this.cam, r0 = r[0]!, r1 = r[1]!, r2 = r[2]!, r3 = r[3]!, r4 = r[4]!, r5 = r[5]!;
		const wx = (x - this.canvas.clientWidth / 2) / k, wy = (this.canvas.clientHeight / 2 - y) / k;
		let best = 0, hit = -1;
		for (let i = 0, j = 0; i < n; i++, j += 3) {
			const dx = from[j]! + t * (to[j]! - from[j]!) - cx, dy = from[j + 1]! + t * (to[j + 1]! - from[j + 1]!) - cy;
			const dz = from[j + 2]! + t * (to[j + 2]! - from[j + 2]!) - cz;
			const u = r0 * dx + r1 * dy + r2 * dz - wx, v = r3 * dx + r4 * dy + r5 * dz - wy;
			const reach = Math.max(6, size[i]! / 2 + 2) / k, d = 1 - (u * u + v * v) / (reach * reach);
			if (d > best) [best, hit] = [d, i];
		}
		return this.dots.key[hit];
	}

	inside(loop: [number, number][]): string[] {
		return this.dots.key.filter((_, i) => {
			const [x, y] = this.place(i);
			let odd = false;
			loop.forEach(([ax, ay], k) => {
				const [bx, by] = loop[(k + 1) % loop.length]!;
				if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
			});
			return odd;
		});
	}

	fit(): void {
		const [lo, hi] = this.bounds();
		if (!this.n) return;
		const mid = [0, 1, 2].map((a) => (lo[a]! + hi[a]!) / 2), wide = [0, 1, 2].map((a) => hi[a]! - lo[a]! || 1e-9);
		const flat = !this.cam[4] && !this.cam[5], all = Math.hypot(...wide);
		const k = Math.min(this.canvas.clientWidth / (flat ? wide[0]! : all), this.canvas.clientHeight / (flat ? wide[1]! : all));
		this.cam = [mid[0]!, mid[1]!, mid[2]!, this.margin * k, this.cam[4]!, this.cam[5]!];
		this.draw();
	}

	pan(dx: number, dy: number): void {
		const r = this.turn(), k = this.cam[3]!;
		for (let a = 0; a < 3; a++) this.cam[a]! -= (r[a]! * dx - r[3 + a]! * dy) / k; // the transpose turns back
		this.draw();
	}

	zoom(by: number, x: number, y: number): void {
		const dx = x - this.canvas.clientWidth / 2, dy = y - this.canvas.clientHeight / 2;
		this.pan(-dx, -dy);
		this.cam[3] = Math.min(1e9, Math.max(1e-9, this.cam[3]! * by));
		this.pan(dx, dy);
	}

	rotate(dx: number, dy: number): void {
		this.cam[4]! += dx / 150;
		this.cam[5] = Math.max(-1.57, Math.min(1.57, this.cam[5]! + dy / 150));
		this.draw();
	}

	draw(): void {
		if (this.asked) return;
		this.asked = true;
		requestAnimationFrame(() => {
			this.asked = false;
			this.drawNow();
			this.onFrame();
			if (this.moving) this.draw();
		});
	}

	/** What is drawn at a pixel, [r, g, b, a]. */
	pixel(x: number, y: number): number[] {
		const out = new Uint8Array(4), ratio = devicePixelRatio || 1;
		this.drawNow(); // what was drawn before may be gone already
		this.gl.readPixels(Math.round(x * ratio), this.canvas.height - 1 - Math.round(y * ratio), 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, out);
		return [...out];
	}

	drawNow(): void {
		const { gl, canvas, program } = this, ratio = devicePixelRatio || 1;
		const w = Math.round(canvas.clientWidth * ratio), h = Math.round(canvas.clientHeight * ratio);
		if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
		gl.viewport(0, 0, w, h);
		gl.clearColor(0, 0, 0, 0);
		gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
		if (!this.n || !w || !h) return;
		gl.useProgram(program);
		gl.enable(gl.DEPTH_TEST);
		gl.depthFunc(gl.LEQUAL);
		const bind = (name: string, n: number, type: number, unit = false): void => {
			const at = gl.getAttribLocation(program, name);
			gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.get(name)!);
			gl.enableVertexAttribArray(at);
			gl.vertexAttribPointer(at, n, type, unit, 0, 0);
		};
		bind("from", 3, gl.FLOAT);
		bind("to", 3, gl.FLOAT);
		bind("colour", 4, gl.UNSIGNED_BYTE, true);
		bind("size", 1, gl.FLOAT);
		bind("shape", 1, gl.FLOAT);
		const [x = 0, y = 0, z = 0, k = 1] = this.cam, u = (n: string): WebGLUniformLocation | null => gl.getUniformLocation(program, n);
		gl.uniformMatrix3fv(u("turn"), true, this.turn());
		gl.uniform3f(u("centre"), x, y, z);
		gl.uniform2f(u("scale"), (2 * k) / canvas.clientWidth, (2 * k) / canvas.clientHeight);
		gl.uniform1f(u("t"), this.t());
		gl.uniform1f(u("ratio"), ratio);
		gl.uniform1f(u("haze"), this.haze);
		gl.uniform3f(u("ground"), this.ground[0]!, this.ground[1]!, this.ground[2]!);
		gl.uniform3f(u("rim"), this.rim[0]!, this.rim[1]!, this.rim[2]!);
		gl.drawArrays(gl.POINTS, 0, this.n);
	}
}
