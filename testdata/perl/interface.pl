# What the servers in this directory do. note(LEVEL, THINGS...) and timed(NAME) are the server's.
my ($released, $counter) = (0, 100);
my %methods = (
    pid      => sub { $$ },
    counter  => sub { ++$counter },
    released => sub { $released },
    fail     => sub { die "ouch: $_[0]\n" },
    code     => sub { sub { } },
    big      => sub { 'x' x $_[0] },
    sleep    => sub { select undef, undef, undef, $_[0]; 1 },
    exit     => sub { POSIX::_exit(3) },
    logs     => sub {
        note(30, 'hello from worker', { k => 'v' });
        note(20, 'careful');
        note(10, 'several', 1, [2]);
        timed('junk');
        die "uh oh\n" if $_[0];
        1;
    },
);
{   setup         => sub { die "the table is missing\n" if $ENV{SETUP_FAILS} && -e $ENV{SETUP_FAILS} },
    checkout_done => sub { $released++ },
    interface     => sub {
        my $name = $_[0]; # a copy: as a key it would become a string
        my $f = defined $name && !ref $name && $methods{$name};
        return $f ? $f->(@_[1 .. $#_]) : [@_];
    },
};
