# A worker in Perl. It reads calls from stdin and writes replies to stdout, one JSON message a line.
use strict;
use warnings;
use JSON::PP;

my %methods = (echo => sub { $_[0] }, fail => sub { die "$_[0]\n" }, pid => sub { $$ });
my $json = JSON::PP->new->utf8->allow_nonref;
$| = 1;

print qq(["up",{}]\n);
while (my $line = <STDIN>) {
    my ($kind, $meta, $method, @args) = @{ $json->decode($line) };
    next if $kind ne 'do';
    my $result = eval { ($methods{$method} || die "no method $method\n")->(@args) };
    print $json->encode($@ ? ['er', {}, "$@"] : ['ok', {}, $result]), "\n";
}
