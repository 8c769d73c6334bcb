package process

import (
	"slices"
	"testing"
	"time"
)

// fakeKills is the kernel's count.
type fakeKills struct{ kills }

func (f *fakeKills) read() kills { return f.kills }

func TestKillsOfAGroupAreClaimedOnce(t *testing.T) {
	t.Parallel()
	f := &fakeKills{kills{n: 7, group: "g"}}
	o := newOOM(f.read)
	if o.Happened(1) {
		t.Error("a kill from before the start")
	}
	f.n += 2
	o.Started() // another worker, before the ends of the two are noticed
	for range 2 {
		if !o.Happened(1) {
			t.Error("a kill was missed")
		}
	}
	if o.Happened(1) {
		t.Error("a kill was counted twice")
	}
}

func TestKillThatNobodyClaimsIsAnothers(t *testing.T) {
	t.Parallel()
	f := &fakeKills{kills{n: 7, group: "g"}}
	o := newOOM(f.read)
	f.n++
	o.Started()
	o.seenAt = o.seenAt.Add(-claimWithin - time.Second) // as if that was long ago
	if o.Happened(1) {
		t.Error("it was taken for a worker's")
	}
	f.n++
	if !o.Happened(1) {
		t.Error("the next kill was missed")
	}
}

func TestGroupThatChanges(t *testing.T) {
	t.Parallel()
	f := &fakeKills{kills{n: 7, group: "g"}}
	o := newOOM(f.read)
	f.kills = kills{n: 100, group: "another"}
	if o.Happened(1) {
		t.Error("the count of another group began higher")
	}
	f.n++
	if !o.Happened(1) {
		t.Error("a kill was missed")
	}
}

func TestKillsOfTheSystem(t *testing.T) {
	t.Parallel()
	f := &fakeKills{kills{n: 7, memory: 1 << 30}}
	o := newOOM(f.read)
	f.n++
	if o.Happened(1 << 20) {
		t.Error("a worker of 1 MiB was killed for a system of 1 GiB")
	}
	if o.Happened(1 << 29) {
		t.Error("a kill that was there at the last look")
	}
	f.n++
	if !o.Happened(1 << 29) {
		t.Error("a large worker, and a kill")
	}
	f.n++
	o.Started()
	if o.Happened(1 << 29) {
		t.Error("a kill from before the last worker's start")
	}
}

func TestFilesOfTheCounters(t *testing.T) {
	t.Parallel()
	const (
		v1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n" +
			"36 31 0:33 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids\n"
		v2     = "41 31 0:38 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		inside = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
		hybrid = v1 + "42 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	)
	for _, test := range []struct {
		groups, mounts string
		want           []string
	}{
		{"0::/user.slice/a:b.service\n", v2, []string{"/sys/fs/cgroup/user.slice/a:b.service/memory.events"}},
		{"9:pids:/x\n4:cpu,memory:/y\n", v1, []string{"/sys/fs/cgroup/memory/y/memory.oom_control"}},
		{"4:memory:/docker/abc\n", inside, []string{"/sys/fs/cgroup/memory/memory.oom_control"}},
		{"4:memory:/docker/abcd\n", inside, nil},
		{"4:memory:/y\n0::/\n", hybrid, []string{"/sys/fs/cgroup/memory/y/memory.oom_control", "/sys/fs/cgroup/unified/memory.events"}},
		{"", "", nil},
		{"nonsense\n", "nonsense\n", nil},
	} {
		if got := oomFiles(test.groups, parseMounts(test.mounts)); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q", test.groups, got)
		}
	}
}
